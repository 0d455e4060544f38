// The viewer: any two versions of a picture with a divider between them, or all side by side, at
// the same zoom and position; differences to the truth as a heat map.
//
// Pixels are drawn on canvases, so that they stay sharp squares at any zoom. A page opened from
// disk cannot read a canvas, so differences are computed by compositing and coloured by an SVG
// filter; neither reads pixels.
"use strict";

class PictureCache {
  // Pictures by address, the newest kept: 100 pictures in 5 versions do not all stay in memory.
  constructor(limit) {
    this.limit = limit;
    this.pictures = new Map();
  }

  put(address, canvas) {
    // A canvas in place of the picture of that address.
    this.pictures.set(address, { image: canvas, ready: true, loaded: Promise.resolve() });
  }

  get(address) {
    let found = this.pictures.get(address);
    if (found) {
      this.pictures.delete(address);
    } else {
      const image = new Image();
      found = { image, ready: false, failed: false };
      image.src = address;
      found.loaded = image.decode().then(
        () => { found.ready = true; },
        () => { found.failed = true; },
      );
    }
    this.pictures.set(address, found);
    if (this.pictures.size > this.limit) {
      this.pictures.delete(this.pictures.keys().next().value);
    }
    return found;
  }
}

class Viewer {
  // data: {versions: [{key, label?, word?}], pictures: [{name, rows, cols, thumb, files, quality}],
  //        truth, baseline}; words: a function from a key to the text in the chosen language.
  constructor(root, data, words) {
    this.root = root;
    this.data = data;
    this.words = words;
    this.cache = new PictureCache(48);
    this.find = (selector) => root.querySelector(selector);
    this.stage = this.find(".stage");
    this.pane = this.find(".pane");
    this.handle = this.find(".divider");
    this.mode = "divider";
    this.difference = false;
    this.divider = 0.5; // share of the visible part of the picture
    this.preview = null; // a version that is shown on the right while the pointer is on its card
    this.flicker = 0; // while the space bar is held: which side fills the pane
    this.fitted = true;
    this.zoom = 1; // CSS pixels for each pixel of the picture's full size
    this.centre = { row: 0, col: 0 };
    this.order = data.pictures.map((_, i) => i);
    this.current = -1;
    this.sides = { left: null, right: null };
    this.buildCards();
    this.buildChoices();
    this.buildThumbnails();
    this.listen();
    this.sort();
    if (!this.follow()) this.show(this.order[0], false);
    root.dataset.ready = "true";
  }

  // --- data --------------------------------------------------------------------------------

  name(version) {
    return version.word ? this.words(version.word) : version.label;
  }

  version(key) {
    return this.data.versions.find((v) => v.key === key);
  }

  shown() {
    // The versions of the current picture that exist.
    return this.data.versions.filter((v) => this.picture.files[v.key]);
  }

  gain(picture, key) {
    const of = (k) => picture.quality[k] && picture.quality[k][0];
    const [mine, base] = [of(key), of(this.data.baseline)];
    return mine == null || base == null ? null : mine - base;
  }

  buildCards() {
    const list = this.find(".cards");
    this.cards = new Map();
    for (const version of this.data.versions) {
      const card = document.createElement("li");
      card.className = "card";
      card.innerHTML =
        '<div class="tile"><canvas></canvas></div>' +
        '<button type="button"><kbd aria-hidden="true"></kbd><span class="name"></span>' +
        '<span class="side"></span><span class="figures"></span>' +
        '<span class="gain-bar" aria-hidden="true"><span></span></span></button>';
      const button = card.querySelector("button");
      button.addEventListener("click", (event) => {
        this.choose(event.shiftKey ? "left" : "right", version.key);
      });
      const see = (key) => () => { this.preview = key; this.labelPills(); this.draw(); };
      button.addEventListener("pointerenter", (event) => {
        if (event.pointerType === "mouse") see(version.key)();
      });
      button.addEventListener("pointerleave", see(null));
      list.append(card);
      this.cards.set(version.key, card);
    }
  }

  buildChoices() {
    const sort = this.find("select[name=sort]");
    for (const version of this.data.versions) {
      const has = (p) => this.gain(p, version.key) !== null;
      if (version.key !== this.data.baseline && this.data.pictures.some(has)) {
        sort.append(new Option("", `best ${version.key}`), new Option("", `worst ${version.key}`));
      }
    }
    sort.addEventListener("change", () => this.sort());
    this.root.classList.toggle("single", this.data.pictures.length < 2);
    this.find(".sorting").hidden = sort.options.length < 2;
    this.find(".differing").hidden = !this.data.truth;
  }

  buildThumbnails() {
    const list = this.find(".thumbnails");
    this.thumbnails = this.data.pictures.map((picture, index) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      const image = document.createElement("img");
      image.loading = "lazy";
      image.decoding = "async";
      image.alt = "";
      image.width = 64;
      image.height = 64;
      image.src = picture.thumb;
      const label = document.createElement("span");
      label.textContent = picture.name;
      const note = document.createElement("small");
      button.append(image, label, note);
      button.addEventListener("click", () => this.show(index));
      item.append(button);
      list.append(item);
      return item;
    });
  }

  // --- the page's address ------------------------------------------------------------------------

  follow() {
    // Show what the page's address asks for; false if it names no picture.
    const asked = new URLSearchParams(location.hash.slice(1).replaceAll("+", "%2B"));
    const index = this.data.pictures.findIndex((p) => p.name === asked.get("picture"));
    if (index < 0) return false;
    for (const side of ["left", "right"]) {
      if (this.version(asked.get(side))) this.sides[side] = asked.get(side);
    }
    this.show(index, false);
    if (asked.has("difference")) this.setDifference(true);
    if (asked.get("mode") === "tiles") this.setMode("tiles");
    const [zoom, row, col] = (asked.get("at") ?? "").split(",").map(Number);
    if (zoom > 0 && row >= 0 && col >= 0) {
      this.centre = { row, col };
      this.zoomTo(zoom);
    }
    return true;
  }

  note() {
    // Write what is shown into the page's address, for links.
    const asked = new URLSearchParams({ picture: this.picture.name, ...this.sides });
    if (this.mode === "tiles") asked.set("mode", "tiles");
    if (this.difference) asked.set("difference", "1");
    if (!this.fitted) {
      const { row, col } = this.centre;
      asked.set("at", [this.zoom, row, col].map((v) => Number(v.toPrecision(5))).join(","));
    }
    const hash = `#${String(asked).replaceAll("+", "%20")}`;
    try { history.replaceState(null, "", hash); } catch { /* not in a frame */ }
  }

  noteSoon() {
    clearTimeout(this.noting);
    this.noting = setTimeout(() => this.note(), 250);
  }

  // --- choosing ----------------------------------------------------------------------------

  sort() {
    const [order, key] = this.find("select[name=sort]").value.split(" ");
    const byName = (a, b) => {
      const [x, y] = [a, b].map((i) => this.data.pictures[i].name);
      return x < y ? -1 : x > y ? 1 : 0;
    };
    const sign = order === "worst" ? 1 : -1;
    const gain = (i) => this.gain(this.data.pictures[i], key);
    this.order.sort((a, b) => {
      if (order === "name") return byName(a, b);
      const [x, y] = [gain(a), gain(b)];
      if (x === null || y === null) return (x === null) - (y === null) || byName(a, b);
      return sign * (x - y) || byName(a, b);
    });
    const list = this.find(".thumbnails");
    for (const i of this.order) {
      const item = this.thumbnails[i];
      const value = order === "name" ? null : gain(i);
      item.querySelector("small").textContent =
        value === null ? "" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)} dB`;
      list.append(item);
    }
  }

  show(index, note = true) {
    this.thumbnails[this.current]?.querySelector("button").removeAttribute("aria-current");
    const before = this.picture;
    this.current = index;
    this.picture = this.data.pictures[index];
    const button = this.thumbnails[index].querySelector("button");
    button.setAttribute("aria-current", "true");
    const list = this.find(".thumbnails"); // scrolls the list only, not the page
    const [box, frame] = [button.getBoundingClientRect(), list.getBoundingClientRect()];
    if (box.left < frame.left || box.right > frame.right) {
      list.scrollLeft += box.left - frame.left - (frame.width - box.width) / 2;
    }
    const there = this.shown().map((v) => v.key);
    // The first view is the baseline against the best model: versions are sorted by quality.
    const models = there.filter((k) => !["lr", this.data.baseline, this.data.truth].includes(k));
    const { baseline } = this.data;
    if (!there.includes(this.sides.left)) {
      this.sides.left = there.includes(baseline) ? baseline : there[0];
    }
    if (!there.includes(this.sides.right)) {
      const rest = there.filter((k) => k !== this.sides.left);
      this.sides.right = models.find((k) => k !== this.sides.left) ?? rest.at(-1) ?? there[0];
    }
    if (this.fitted || before?.rows !== this.picture.rows || before?.cols !== this.picture.cols) {
      this.fit();
    } else {
      this.moved();
    }
    this.label();
    this.prefetch();
    if (note) this.note();
    this.root.dispatchEvent(new Event("shown"));
  }

  renew(index) {
    // Versions or pictures were added or removed: build their lists anew, and show one.
    for (const list of [".cards", ".thumbnails"]) this.find(list).replaceChildren();
    this.order = this.data.pictures.map((_, i) => i);
    this.root.classList.toggle("single", this.data.pictures.length < 2);
    this.buildCards();
    this.buildThumbnails();
    this.find(".thumbnails").append(...this.thumbnails);
    this.show(index, false);
    this.resized();
  }

  step(by) {
    const at = this.order.indexOf(this.current);
    this.show(this.order[(at + by + this.order.length) % this.order.length]);
  }

  choose(side, key) {
    if (!this.picture.files[key]) return;
    const other = side === "left" ? "right" : "left";
    if (this.sides[other] === key) this.sides[other] = this.sides[side];
    this.sides[side] = key;
    this.preview = null;
    this.changed();
  }

  changed() {
    this.label();
    this.draw();
    this.note();
  }

  swap() {
    this.sides = { left: this.sides.right, right: this.sides.left };
    this.changed();
  }

  setMode(mode) {
    this.mode = mode;
    this.root.dataset.mode = mode;
    for (const input of this.root.querySelectorAll(".modes input")) {
      input.checked = input.value === mode;
    }
    this.resized();
    this.noteSoon();
  }

  setDifference(on) {
    this.difference = on && Boolean(this.data.truth);
    this.find("input[name=difference]").checked = this.difference;
    this.label();
    this.draw();
    this.noteSoon();
  }

  prefetch() {
    // Preload the next picture.
    const at = this.order.indexOf(this.current);
    const next = this.data.pictures[this.order[(at + 1) % this.order.length]];
    for (const key of Object.values(this.sides)) {
      if (next.files[key]) this.cache.get(next.files[key]);
    }
  }

  // --- words ---------------------------------------------------------------------------------

  label() {
    const { words } = this;
    const gains = this.data.versions.map((v) => this.gain(this.picture, v.key) ?? 0);
    const most = Math.max(...gains, 1e-9);
    let number = 0;
    for (const [i, version] of this.data.versions.entries()) {
      const card = this.cards.get(version.key);
      card.hidden = !this.picture.files[version.key];
      if (!card.hidden) number += 1;
      card.querySelector("kbd").textContent = number < 10 ? number : "";
      card.querySelector(".name").textContent = this.name(version);
      card.querySelector(".figures").textContent = this.figures(version.key, true);
      const side = Object.keys(this.sides).find((s) => this.sides[s] === version.key);
      card.dataset.side = side ?? "";
      card.querySelector(".side").textContent = side ? words(`${side}_short`) : "";
      card.querySelector("button").setAttribute("aria-pressed", String(side !== undefined));
      const bar = card.querySelector(".gain-bar");
      bar.hidden = this.gain(this.picture, version.key) === null;
      bar.firstChild.style.width = `${(Math.max(0, gains[i]) / most) * 100}%`;
    }
    for (const option of this.find("select[name=sort]").options) {
      const [order, key] = option.value.split(" ");
      option.textContent =
        order === "name"
          ? words("by_name")
          : words(order === "best" ? "by_gain" : "by_loss", { model: this.name(this.version(key)) });
    }
    this.find(".title").textContent = this.picture.name;
    this.find(".legend").hidden = !this.difference;
    this.find(".legend .most").textContent = words("grey_levels", { n: Math.round(255 / this.strength()) });
    this.handle.setAttribute("aria-label", words("divider"));
    this.labelPills();
    this.labelThumbnails();
    this.placeDivider();
    this.showZoom();
  }

  labelPills() {
    for (const [side, key] of Object.entries(this.seen())) {
      const version = this.version(key);
      const [psnr, ...rest] = this.figures(key).split(" · ");
      const pill = this.find(`.pill.${side}`);
      pill.textContent = `${this.name(version)} ${psnr}`.trim();
      const more = document.createElement("span");
      more.className = "more"; // hidden where there is little room
      more.textContent = rest.map((part) => ` · ${part}`).join("");
      pill.append(more);
    }
  }

  labelThumbnails() {
    // Gains of the sorted model, or else of the version on the right.
    const [order, sorted] = this.find("select[name=sort]").value.split(" ");
    const key = order === "name" ? this.sides.right : sorted;
    for (const [i, item] of this.thumbnails.entries()) {
      const gain = key === this.data.baseline ? null : this.gain(this.data.pictures[i], key);
      item.querySelector("small").textContent = gain === null ? "" : this.signed(gain);
    }
  }

  signed(gain) {
    return `${gain < 0 ? "−" : "+"}${Math.abs(gain).toFixed(2)} dB`;
  }

  figures(key, withGain = false) {
    const quality = this.picture.quality[key];
    if (withGain && key === "lr" && this.version(key).word) return this.words("lr_explained");
    if (key === this.data.truth || !quality) return "";
    const [psnr, ssim] = quality;
    const parts = [psnr === null ? this.words("equal") : `${psnr.toFixed(2)} dB`];
    if (ssim != null) parts.push(`SSIM ${ssim.toFixed(4)}`);
    const gain = this.gain(this.picture, key);
    if (withGain && gain !== null && key !== this.data.baseline) parts.push(this.signed(gain));
    return parts.join(" · ");
  }

  strength() {
    // Amplify differences so that four times the larger root-mean-square error is brightest.
    const psnrs = Object.values(this.sides).map((key) => this.picture.quality[key]?.[0]);
    const known = psnrs.filter((psnr) => psnr != null);
    const error = known.length ? 255 * 10 ** (-Math.min(...known) / 20) : 16;
    return this.data.strengths.findLast((s) => 255 / s >= 4 * error) ?? this.data.strengths[0];
  }

  showZoom() {
    const percent = Math.round(this.zoom * 100);
    this.find(".zoom").textContent = `${percent} %`;
  }

  // --- zoom and position ---------------------------------------------------------------------

  get frame() {
    return { rows: this.picture.rows, cols: this.picture.cols };
  }

  viewport() {
    const card = this.mode === "divider" ? null : this.cards.get(this.shown()[0]?.key);
    const element = card ? card.querySelector(".tile") : this.pane;
    return { width: element.clientWidth, height: element.clientHeight };
  }

  fittingZoom() {
    const { width, height } = this.viewport();
    const { rows, cols } = this.frame;
    return Math.max(1e-3, Math.min(width / cols, height / rows));
  }

  fit() {
    const { rows, cols } = this.frame;
    this.fitted = true;
    this.zoom = this.fittingZoom();
    this.centre = { row: rows / 2, col: cols / 2 };
    this.moved();
  }

  refit() {
    this.fit();
    this.noteSoon();
  }

  zoomTo(zoom, at) {
    // `at`: offset in CSS pixels from the middle of a pane; the point there keeps its position.
    const { row, col } = at ?? { row: 0, col: 0 };
    const before = this.zoom;
    const smallest = Math.min(1, this.fittingZoom());
    this.zoom = Math.min(128, Math.max(smallest, zoom));
    this.centre.row += row / before - row / this.zoom;
    this.centre.col += col / before - col / this.zoom;
    this.fitted = false;
    this.moved();
    this.noteSoon();
  }

  pan(rows, cols) {
    this.centre.row += rows / this.zoom;
    this.centre.col += cols / this.zoom;
    this.fitted = false;
    this.moved();
    this.noteSoon();
  }

  moved() {
    const { rows, cols } = this.frame;
    const { width, height } = this.viewport();
    const within = (value, length, room) => {
      const half = Math.min(length / 2, room / this.zoom / 2);
      return Math.min(length - half, Math.max(half, value));
    };
    this.centre.row = within(this.centre.row, rows, height);
    this.centre.col = within(this.centre.col, cols, width);
    this.root.classList.toggle("zoomed", this.zoomed);
    this.showZoom();
    this.placeDivider();
    this.draw();
  }

  get zoomed() {
    return this.zoom > this.fittingZoom() * 1.001;
  }

  resized() {
    // As many tiles in a row as fit, in full rows where possible.
    const [list, count] = [this.find(".cards"), this.shown().length];
    const most = Math.max(2, Math.floor(list.clientWidth / 230));
    list.style.setProperty("--columns", Math.ceil(count / Math.ceil(count / most)));
    if (this.fitted) this.fit();
    else this.moved();
  }

  // --- the divider ---------------------------------------------------------------------------------

  extent() {
    // Left and right end of the visible part of the picture in the pane, in CSS pixels.
    const width = this.pane.clientWidth;
    const left = width / 2 - this.centre.col * this.zoom;
    return [Math.max(0, left), Math.min(width, left + this.frame.cols * this.zoom)];
  }

  setDivider(share) {
    this.divider = Math.min(1, Math.max(0, share));
    this.placeDivider();
  }

  moveDivider(event) {
    const [left, right] = this.extent();
    const x = event.clientX - this.pane.getBoundingClientRect().left;
    this.setDivider((x - left) / Math.max(1, right - left));
  }

  placeDivider() {
    if (!this.picture) return;
    const [left, right] = this.extent();
    const share = this.flicker ? (this.flicker === 1 ? 1 : 0) : this.divider;
    this.pane.style.setProperty("--divider", `${left + share * (right - left)}px`);
    const above = (this.pane.clientHeight - this.frame.rows * this.zoom) / 2;
    this.pane.style.setProperty("--top", `${Math.max(0, above)}px`);
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.divider * 100)));
    const name = this.name(this.version(this.sides.left));
    this.handle.setAttribute("aria-valuetext", `${name} ${Math.round(this.divider * 100)} %`);
  }

  setFlicker(on) {
    // The two sides in turn, below three flashes a second; without motion the left side alone.
    clearInterval(this.flickering);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.flicker = on ? 1 : 0;
    this.root.classList.toggle("flickers", on);
    this.placeDivider();
    if (on && !still) {
      this.flickering = setInterval(() => {
        this.flicker = 3 - this.flicker;
        this.placeDivider();
      }, 500);
    }
  }

  // --- drawing -------------------------------------------------------------------------------

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      if (this.mode === "divider") {
        for (const [side, key] of Object.entries(this.seen())) {
          this.paint(this.find(`canvas.${side}`), key);
        }
      } else {
        for (const version of this.shown()) {
          this.paint(this.cards.get(version.key).querySelector("canvas"), version.key);
        }
      }
    });
  }

  seen() {
    // The versions on both sides; one under the pointer is previewed on the right.
    const there = this.preview && this.picture.files[this.preview];
    return there ? { ...this.sides, right: this.preview } : this.sides;
  }

  paint(canvas, key) {
    const sharp = window.devicePixelRatio || 1;
    const box = canvas.parentElement;
    const width = Math.round(box.clientWidth * sharp);
    const height = Math.round(box.clientHeight * sharp);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    canvas.style.width = `${width / sharp}px`; // not a fraction of a pixel more, which would blur
    canvas.style.height = `${height / sharp}px`;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const differs = this.difference && key !== this.data.truth && this.picture.files[this.data.truth];
    const keys = differs ? [key, this.data.truth] : [key];
    const pictures = keys.map((k) => this.cache.get(this.picture.files[k]));
    const of = this.picture;
    const waiting = pictures.filter((p) => !p.ready && !p.failed);
    if (waiting.length) {
      Promise.all(waiting.map((p) => p.loaded)).then(() => {
        if (of === this.picture) this.draw();
      });
    }
    const lost = pictures.findIndex((p) => p.failed);
    canvas.style.filter = differs && lost < 0 ? `url(#heat-${this.strength()})` : "";
    canvas.dataset.drawn = "";
    if (lost >= 0) {
      this.drawMissing(context, width, height, sharp, keys[lost]);
    } else if (!waiting.length) {
      this.place(context, width, height, sharp, pictures[0].image);
      if (differs) {
        context.globalCompositeOperation = "difference";
        this.place(context, width, height, sharp, pictures[1].image);
        context.globalCompositeOperation = "source-over";
      }
      canvas.dataset.drawn = key;
    }
  }

  place(context, width, height, sharp, image) {
    const { rows, cols } = this.frame;
    const scale = this.zoom * sharp;
    const [across, down] = [image.naturalWidth ?? image.width, image.naturalHeight ?? image.height];
    const left = Math.round(width / 2 - this.centre.col * scale);
    const top = Math.round(height / 2 - this.centre.row * scale);
    // Only the visible part is drawn: at 128 times, a whole picture exceeds a canvas.
    const [wide, high] = [(cols * scale) / across, (rows * scale) / down];
    const x0 = Math.max(0, Math.floor(-left / wide));
    const y0 = Math.max(0, Math.floor(-top / high));
    const x1 = Math.min(across, Math.ceil((width - left) / wide));
    const y1 = Math.min(down, Math.ceil((height - top) / high));
    if (x1 <= x0 || y1 <= y0) return;
    context.imageSmoothingEnabled = wide < 1;
    context.imageSmoothingQuality = "high";
    const target = [left + x0 * wide, top + y0 * high, (x1 - x0) * wide, (y1 - y0) * high];
    context.drawImage(image, x0, y0, x1 - x0, y1 - y0, ...target);
  }

  drawMissing(context, width, height, sharp, key) {
    context.fillStyle = getComputedStyle(this.root).color;
    context.font = `${14 * sharp}px sans-serif`;
    context.textAlign = "center";
    context.fillText(this.words("missing"), width / 2, height / 2 - 12 * sharp, width);
    const address = this.picture.files[key];
    const name = address.startsWith("data:") ? this.picture.name : decodeURIComponent(address);
    context.fillText(name, width / 2, height / 2 + 12 * sharp, width);
  }

  // --- input ---------------------------------------------------------------------------------

  listen() {
    for (const input of this.root.querySelectorAll(".modes input")) {
      input.addEventListener("change", () => this.setMode(input.value));
    }
    const on = (selector, what) => this.find(selector).addEventListener("click", what);
    on(".swap", () => this.swap());
    on(".in", () => this.zoomTo(this.zoom * 2));
    on(".out", () => this.zoomTo(this.zoom / 2));
    on(".fit", () => this.refit());
    on(".whole", () => this.zoomTo(1));
    on(".next", () => this.step(1));
    on(".previous", () => this.step(-1));
    const difference = this.find("input[name=difference]");
    difference.addEventListener("change", () => this.setDifference(difference.checked));
    on(".fill", () => this.fill());
    on(".help", () => this.find(".keys").showModal());
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("keyup", (event) => {
      if (event.key === " " && this.flicker) this.setFlicker(false);
    });
    window.addEventListener("blur", () => this.setFlicker(false));
    for (const area of [this.stage, this.find(".cards")]) {
      area.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      this.listenToPointers(area);
    }
    window.addEventListener("hashchange", () => this.follow());
    new ResizeObserver(() => this.resized()).observe(this.pane);
    new ResizeObserver(() => this.resized()).observe(this.find(".cards"));
  }

  at(event) {
    // Position of an event relative to the middle of the pane or tile under it.
    const under = document.elementFromPoint(event.clientX, event.clientY)?.closest(".tile");
    const box = (under ?? this.pane).getBoundingClientRect();
    return {
      row: event.clientY - box.top - box.height / 2,
      col: event.clientX - box.left - box.width / 2,
    };
  }

  wheel(event) {
    // The wheel scrolls the page until the viewer is clicked; with Ctrl it zooms at once.
    if (!event.ctrlKey && !event.metaKey && !this.root.contains(document.activeElement)) return;
    if (!event.target.closest(".pane, .tile")) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoomTo(this.zoom * 2 ** ((-event.deltaY * lines) / 300), this.at(event));
  }

  listenToPointers(area) {
    const pointers = new Map();
    area.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("button")) return;
      const held = event.target === this.handle;
      const dividing = held || (area === this.stage && !this.zoomed);
      pointers.set(event.pointerId, { event, held, dividing, moved: 0 });
      area.setPointerCapture(event.pointerId);
    });
    area.addEventListener("pointermove", (event) => {
      const pointer = pointers.get(event.pointerId);
      if (!pointer) return;
      const before = pointer.event;
      const [rows, cols] = [before.clientY - event.clientY, before.clientX - event.clientX];
      pointer.event = event;
      pointer.moved += Math.hypot(rows, cols);
      const others = [...pointers.values()].filter((p) => p !== pointer);
      if (others.length) {
        const other = others[0].event;
        const apart = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
        this.zoomTo(this.zoom * (apart(event) / Math.max(1, apart(before))));
      } else if (pointer.dividing) {
        this.moveDivider(event);
        return;
      }
      if (rows || cols) this.pan(rows / pointers.size, cols / pointers.size);
    });
    area.addEventListener("pointerup", (event) => {
      const pointer = pointers.get(event.pointerId);
      pointers.delete(event.pointerId);
      const clicked = pointer && !pointer.held && pointer.moved < 4;
      if (clicked && area === this.stage) this.moveDivider(event);
    });
    area.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
    area.addEventListener("dblclick", (event) => {
      if (!event.target.closest("button, .divider")) this.zoomTo(this.zoom * 2, this.at(event));
    });
  }

  fill() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch(() => { /* not in a frame */ });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.find(".keys").open) return;
    if (event.target !== document.body && !this.root.contains(event.target)) return;
    if (event.target === this.handle && this.dividerKey(event)) {
      event.preventDefault();
      return;
    }
    if (event.target.closest("select")) return;
    if (event.target.closest("input") && /^( |Arrow.*)$/.test(event.key)) return;
    const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
    if (digit) {
      const version = this.shown()[digit - 1];
      if (version) this.choose(event.shiftKey ? "left" : "right", version.key);
      return;
    }
    if (event.key === " ") {
      if (event.target.closest("button")) return; // it presses the button
      event.preventDefault();
      if (!event.repeat && this.mode === "divider") this.setFlicker(true);
      return;
    }
    const { width, height } = this.viewport();
    const inStrip = event.target.closest(".thumbnails");
    const panned = (rows, cols) => (this.zoomed && !inStrip ? () => this.pan(rows, cols) : undefined);
    const does = {
      "+": () => this.zoomTo(this.zoom * Math.SQRT2),
      "=": () => this.zoomTo(this.zoom * Math.SQRT2),
      "-": () => this.zoomTo(this.zoom / Math.SQRT2),
      0: () => this.refit(),
      z: () => (this.zoom === 1 ? this.refit() : this.zoomTo(1)),
      f: () => this.fill(),
      "?": () => this.find(".keys").showModal(),
      n: () => this.step(1),
      p: () => this.step(-1),
      x: () => this.swap(),
      d: () => this.setDifference(!this.difference),
      m: () => this.setMode(this.mode === "divider" ? "tiles" : "divider"),
      ArrowUp: panned(-height / 8, 0),
      ArrowDown: panned(height / 8, 0),
      ArrowLeft: panned(0, -width / 8),
      ArrowRight: panned(0, width / 8),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (does) {
      event.preventDefault();
      does();
    }
  }

  dividerKey(event) {
    const by = event.shiftKey ? 0.1 : 0.01;
    const to = {
      ArrowLeft: this.divider - by,
      ArrowDown: this.divider - by,
      ArrowRight: this.divider + by,
      ArrowUp: this.divider + by,
      PageDown: this.divider - 0.1,
      PageUp: this.divider + 0.1,
      Home: 0,
      End: 1,
    }[event.key];
    if (to === undefined) return false;
    this.setDivider(to);
    return true;
  }
}
