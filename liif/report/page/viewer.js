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
    this.divider = 0.5;
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
    const index = this.asked();
    this.show(index >= 0 ? index : this.order[0], false);
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
        '<button type="button"><span class="side" aria-hidden="true"></span>' +
        '<span class="name"></span><span class="figures"></span></button>';
      card.querySelector("button").addEventListener("click", (event) => {
        this.choose(event.shiftKey ? "left" : "right", version.key);
      });
      list.append(card);
      this.cards.set(version.key, card);
    }
  }

  buildChoices() {
    for (const side of ["left", "right"]) {
      const select = this.find(`select[name=${side}]`);
      for (const version of this.data.versions) {
        select.append(new Option("", version.key));
      }
      select.addEventListener("change", () => this.choose(side, select.value));
    }
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
      image.width = 96;
      image.height = 96;
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

  asked() {
    // Index of the picture in the page's address; −1 if none.
    const [, name] = location.hash.match(/^#picture=(.*)$/) ?? [];
    return name === undefined
      ? -1
      : this.data.pictures.findIndex((p) => encodeURIComponent(p.name) === name || p.name === name);
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
    this.current = index;
    this.picture = this.data.pictures[index];
    const button = this.thumbnails[index].querySelector("button");
    button.setAttribute("aria-current", "true");
    const list = this.find(".thumbnails"); // scrolls the list only, not the page
    const [box, frame] = [button.getBoundingClientRect(), list.getBoundingClientRect()];
    if (box.top < frame.top || box.bottom > frame.bottom) {
      list.scrollTop += box.top - frame.top - (frame.height - box.height) / 2;
    }
    const there = this.shown().map((v) => v.key);
    // The most useful first view: the best model against the truth, or against the baseline.
    const models = there.filter((k) => !["lr", this.data.baseline, this.data.truth].includes(k));
    const first = there.includes(this.data.baseline) ? this.data.baseline : there[0];
    if (!there.includes(this.sides.left)) this.sides.left = first;
    if (!there.includes(this.sides.right)) {
      const rest = there.filter((k) => k !== this.sides.left);
      this.sides.right = models[models.length - 1] ?? rest[rest.length - 1] ?? first;
    }
    this.fit();
    this.label();
    this.prefetch();
    if (note) {
      const hash = `#picture=${encodeURIComponent(this.picture.name)}`;
      try { history.replaceState(null, "", hash); } catch { /* not in a frame */ }
    }
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
    this.label();
    this.draw();
  }

  swap() {
    this.sides = { left: this.sides.right, right: this.sides.left };
    this.label();
    this.draw();
  }

  setMode(mode) {
    this.mode = mode;
    this.root.dataset.mode = mode;
    for (const input of this.root.querySelectorAll(".modes input")) {
      input.checked = input.value === mode;
    }
    this.resized();
  }

  setDifference(on) {
    this.difference = on && Boolean(this.data.truth);
    this.find("input[name=difference]").checked = this.difference;
    this.label();
    this.draw();
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
    for (const version of this.data.versions) {
      const card = this.cards.get(version.key);
      card.hidden = !this.picture.files[version.key];
      card.querySelector(".name").textContent = this.name(version);
      card.querySelector(".figures").textContent = this.figures(version.key);
      const side = Object.keys(this.sides).find((s) => this.sides[s] === version.key);
      card.dataset.side = side ?? "";
      card.querySelector(".side").textContent = side ? words(`${side}_short`) : "";
      const pressed = side !== undefined;
      card.querySelector("button").setAttribute("aria-pressed", String(pressed));
    }
    for (const side of ["left", "right"]) {
      const select = this.find(`select[name=${side}]`);
      for (const option of select.options) {
        option.textContent = this.name(this.version(option.value));
        option.disabled = !this.picture.files[option.value];
      }
      select.value = this.sides[side];
      const version = this.version(this.sides[side]);
      this.find(`.caption.${side}`).textContent = `${this.name(version)} ${this.figures(version.key)}`;
    }
    for (const option of this.find("select[name=sort]").options) {
      const [order, key] = option.value.split(" ");
      option.textContent =
        order === "name"
          ? words("by_name")
          : words(order === "best" ? "by_gain" : "by_loss", { model: this.name(this.version(key)) });
    }
    this.find(".title").textContent = this.picture.name;
    for (const part of [".legend", ".amplified"]) this.find(part).hidden = !this.difference;
    this.find(".legend .most").textContent = words("grey_levels", { n: Math.round(255 / this.strength()) });
    this.handle.setAttribute("aria-label", words("divider"));
    this.placeDivider();
    this.showZoom();
  }

  figures(key) {
    const quality = this.picture.quality[key];
    if (key === this.data.truth) return "";
    if (!quality) return "";
    const [psnr, ssim] = quality;
    const text = psnr === null ? this.words("equal") : `${psnr.toFixed(2)} dB`;
    return ssim == null ? text : `${text} · SSIM ${ssim.toFixed(4)}`;
  }

  strength() {
    return Number(this.find("select[name=strength]").value);
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
  }

  pan(rows, cols) {
    this.centre.row += rows / this.zoom;
    this.centre.col += cols / this.zoom;
    this.fitted = false;
    this.moved();
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
    this.stage.classList.toggle("zoomed", this.zoom > this.fittingZoom() * 1.001);
    this.showZoom();
    this.draw();
  }

  resized() {
    if (this.fitted) this.fit();
    else this.moved();
  }

  setDivider(share) {
    this.divider = Math.min(1, Math.max(0, share));
    this.placeDivider();
  }

  placeDivider() {
    const percent = `${this.divider * 100}%`;
    this.pane.style.setProperty("--divider", percent);
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.divider * 100)));
    const left = this.version(this.sides.left);
    if (left) {
      const text = `${this.name(left)} ${Math.round(this.divider * 100)} %`;
      this.handle.setAttribute("aria-valuetext", text);
    }
  }

  // --- drawing -------------------------------------------------------------------------------

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      if (this.mode === "divider") {
        this.paint(this.find("canvas.left"), this.sides.left);
        this.paint(this.find("canvas.right"), this.sides.right);
      } else {
        for (const version of this.shown()) {
          this.paint(this.cards.get(version.key).querySelector("canvas"), version.key);
        }
      }
    });
  }

  paint(canvas, key) {
    const sharp = window.devicePixelRatio || 1;
    const box = canvas.parentElement;
    const width = Math.round(box.clientWidth * sharp);
    const height = Math.round(box.clientHeight * sharp);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
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
    const left = Math.round(width / 2 - this.centre.col * scale);
    const top = Math.round(height / 2 - this.centre.row * scale);
    // Only the visible part is drawn: at 128 times, a whole picture exceeds a canvas.
    const [wide, high] = [(cols * scale) / image.naturalWidth, (rows * scale) / image.naturalHeight];
    const x0 = Math.max(0, Math.floor(-left / wide));
    const y0 = Math.max(0, Math.floor(-top / high));
    const x1 = Math.min(image.naturalWidth, Math.ceil((width - left) / wide));
    const y1 = Math.min(image.naturalHeight, Math.ceil((height - top) / high));
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
    on(".fit", () => this.fit());
    on(".whole", () => this.zoomTo(1));
    on(".next", () => this.step(1));
    on(".previous", () => this.step(-1));
    const difference = this.find("input[name=difference]");
    difference.addEventListener("change", () => this.setDifference(difference.checked));
    this.find("select[name=strength]").addEventListener("change", () => {
      this.label();
      this.draw();
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.listenToPointers();
    window.addEventListener("hashchange", () => {
      const index = this.asked();
      if (index >= 0) this.show(index, false);
    });
    new ResizeObserver(() => this.resized()).observe(this.stage);
  }

  at(event, element) {
    // Position of an event relative to the middle of the pane under it.
    const tile = event.target.closest?.(".tile") ?? element ?? this.pane;
    const box = tile.getBoundingClientRect();
    return {
      row: event.clientY - box.top - box.height / 2,
      col: event.clientX - box.left - box.width / 2,
    };
  }

  wheel(event) {
    // The wheel scrolls the page until the viewer is clicked; with Ctrl it zooms at once.
    if (!event.ctrlKey && !event.metaKey && !this.root.contains(document.activeElement)) return;
    if (document.activeElement.closest(".pictures")) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoomTo(this.zoom * 2 ** ((-event.deltaY * lines) / 300), this.at(event));
  }

  listenToPointers() {
    const pointers = new Map();
    this.handle.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      this.handle.setPointerCapture(event.pointerId);
    });
    this.handle.addEventListener("pointermove", (event) => {
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      event.stopPropagation();
      const box = this.pane.getBoundingClientRect();
      this.setDivider((event.clientX - box.left) / box.width);
    });
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("button")) return;
      pointers.set(event.pointerId, event);
      this.stage.setPointerCapture(event.pointerId);
    });
    this.stage.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const others = [...pointers.values()].filter((p) => p.pointerId !== event.pointerId);
      if (others.length) {
        const apart = (p) => Math.hypot(p.clientX - others[0].clientX, p.clientY - others[0].clientY);
        this.zoomTo(this.zoom * (apart(event) / Math.max(1, apart(before))));
      }
      const share = 1 / pointers.size;
      const [rows, cols] = [before.clientY - event.clientY, before.clientX - event.clientX];
      if (rows || cols) this.pan(rows * share, cols * share);
      pointers.set(event.pointerId, event);
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      this.stage.addEventListener(kind, (event) => pointers.delete(event.pointerId));
    }
    this.stage.addEventListener("dblclick", (event) => {
      if (!event.target.closest("button")) this.zoomTo(this.zoom * 2, this.at(event));
    });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === this.handle && this.dividerKey(event)) {
      event.preventDefault();
      return;
    }
    if (event.target.closest("select, input") || event.target.closest(".thumbnails")) return;
    const { width, height } = this.viewport();
    const zoomed = this.stage.classList.contains("zoomed");
    const panned = (rows, cols) => (zoomed ? () => this.pan(rows, cols) : undefined);
    const does = {
      "+": () => this.zoomTo(this.zoom * Math.SQRT2),
      "=": () => this.zoomTo(this.zoom * Math.SQRT2),
      "-": () => this.zoomTo(this.zoom / Math.SQRT2),
      0: () => this.fit(),
      1: () => this.zoomTo(1),
      n: () => this.step(1),
      p: () => this.step(-1),
      x: () => this.swap(),
      d: () => this.setDifference(!this.difference),
      m: () => this.setMode(this.mode === "divider" ? "tiles" : "divider"),
      ArrowUp: panned(-height / 8, 0),
      ArrowDown: panned(height / 8, 0),
      ArrowLeft: panned(0, -width / 8),
      ArrowRight: panned(0, width / 8),
    }[event.key];
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
