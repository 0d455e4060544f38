// The page of liif app: pictures in, jobs, and their results in the viewer.
(() => {
  const { data, words } = page;
  const tab = [...crypto.getRandomValues(new Uint8Array(12))].map((n) => n.toString(36)).join("");
  const find = (selector) => document.querySelector(selector);
  const [form, work, chooser] = [find(".settings"), find(".work"), find(".files")];
  const field = (name) => form.elements[name];
  const LONGEST = 180; // seconds of a job that starts by itself
  const jobs = new Map();
  let viewer = null;

  // --- words and numbers ---------------------------------------------------------------------

  const chinese = () => document.documentElement.lang !== "en";
  function unit(value, name, digits = 0) {
    const options = { style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: digits };
    return new Intl.NumberFormat(chinese() ? "zh-CN" : "en", options).format(value);
  }
  function time(seconds) {
    if (seconds < 100) return unit(Math.max(1, Math.round(seconds)), "second");
    return seconds < 6000 ? unit(Math.round(seconds / 60), "minute") : unit(seconds / 3600, "hour", 1);
  }
  const memory = (bytes) => (bytes < 1e9 ? unit(Math.round(bytes / 1e6), "megabyte") : unit(bytes / 1e9, "gigabyte", 1));

  function message(text, quiet = false) {
    const item = document.createElement("li");
    const close = document.createElement("button");
    item.classList.toggle("quiet", quiet);
    item.append(Object.assign(document.createElement("span"), { textContent: text }), close);
    Object.assign(close, { type: "button", textContent: "×", onclick: () => item.remove() });
    close.dataset.label = "close_message";
    close.setAttribute("aria-label", words("close_message"));
    const list = find(".messages");
    list.append(item);
    while (list.children.length > 5) list.firstChild.remove();
    return item;
  }

  async function ask(method, address, body) {
    // The response; an error is one line.
    let response;
    try {
      response = await fetch(address, { method, body });
    } catch {
      throw new Error(words("lost"));
    }
    if (!response.ok) {
      const said = await response.json().catch(() => ({}));
      throw new Error(said.error ?? `${response.status}`);
    }
    return response;
  }
  const attempt = (action) => (...given) => action(...given).catch((error) => message(error.message));

  // --- pictures in ---------------------------------------------------------------------------

  const add = attempt(async (name, query, body) => {
    const reading = message(words("reading", { name }), true);
    try {
      const response = await ask("POST", `/pictures?${new URLSearchParams({ tab, ...query })}`, body);
      await show(await response.json());
    } finally {
      reading.remove();
    }
  });

  async function addFiles(files) {
    for (const file of files) {
      const name = file.name || "picture.png";
      if (file.size > data.uploadBytes) {
        message(words("too_large", { name, limit: Math.floor(data.uploadBytes / 1e6) }));
      } else {
        await add(name, { name }, file);
      }
    }
  }

  async function show(info) {
    const most = Math.sqrt(data.outputPixels / (info.rows * info.cols));
    const scale = Math.max(1, Math.min(Number(field("scale").value) || 4, Math.floor(10 * most) / 10));
    const lr = `/pictures/${info.key}/shown`;
    const picture = { ...info, lr: [info.rows, info.cols], files: { lr }, quality: {}, scale };
    Object.assign(picture, { rows: Math.ceil(info.rows * scale), cols: Math.ceil(info.cols * scale) });
    if (!data.versions.length) data.versions.push({ key: "lr", word: "lr" }, { key: "bicubic", word: "bicubic" });
    data.pictures.push(picture);
    find(".welcome").hidden = true;
    work.hidden = false;
    if (!viewer) {
      viewer = page.begin();
      find(".viewer").addEventListener("shown", () => settle());
    }
    viewer.renew(data.pictures.length - 1);
    settle();
    const seconds = await forecast(picture);
    if (seconds !== undefined && (seconds ?? 0) <= LONGEST) await enlarge(picture);
  }

  const remove = attempt(async () => {
    const index = data.pictures.indexOf(viewer.picture);
    const [picture] = data.pictures.splice(index, 1);
    data.versions = data.versions.filter((v) => !jobs.has(v.key) || !picture.files[v.key]);
    for (const [key, job] of jobs) if (job.picture === picture.key) jobs.delete(key);
    if (data.pictures.length) {
      viewer.renew(Math.min(index, data.pictures.length - 1));
    } else {
      work.hidden = true;
      find(".welcome").hidden = false;
      find(".welcome .choose").focus();
    }
    await ask("DELETE", `/pictures/${picture.key}`);
  });

  // --- settings ------------------------------------------------------------------------------

  function chosen(picture) {
    const query = { scale: picture.scale, weights: field("weights").value };
    if (field("precision").value !== "auto") query.precision = field("precision").value;
    if (!field("back_projection").checked) query.back_projection = "false";
    if (field("self_ensemble").checked) query.self_ensemble = "true";
    return new URLSearchParams(query);
  }

  let forecasts = 0;
  async function forecast(picture) {
    // Size, time and memory of the enlarged picture, and its bicubic version; returns the time.
    const number = ++forecasts;
    const query = chosen(picture);
    const line = find(".estimate");
    let found;
    try {
      found = await (await ask("GET", `/pictures/${picture.key}/estimate?${query}`)).json();
    } catch (error) {
      if (number === forecasts) {
        [line.textContent, picture.wrong] = [error.message, true];
        line.classList.add("wrong");
        find(".enlarge").disabled = true;
      }
      return undefined;
    }
    Object.assign(picture, { wrong: false, found });
    if (number === forecasts && picture === viewer.picture) label();
    if (found.seconds === null) changed(1500);
    const bicubic = `/pictures/${picture.key}/bicubic?scale=${picture.scale}`;
    if (picture.files.bicubic !== bicubic) {
      const loading = viewer.cache.get(bicubic).loaded;
      loading.then(() => {
        if (number !== forecasts && picture.files.bicubic) return;
        Object.assign(picture, { rows: found.rows, cols: found.cols });
        picture.files.bicubic = bicubic;
        if (picture === viewer.picture) viewer.show(viewer.current, false);
        if (picture === viewer.picture) viewer.fit();
      });
      await loading;
    }
    return found.seconds;
  }

  let soon = 0;
  function setScale(text) {
    const scale = Math.min(30, Math.max(1, Number(text)));
    if (!Number.isFinite(scale) || text === "") return;
    viewer.picture.scale = scale;
    label();
    changed();
  }
  function changed(delay = 120) {
    clearTimeout(soon);
    soon = setTimeout(() => viewer.picture && forecast(viewer.picture), delay);
  }

  function settle() {
    // Another picture is shown: its settings and state.
    const { picture } = viewer;
    if (document.activeElement !== field("scale")) field("scale").value = picture.scale;
    field("slider").value = picture.scale;
    label();
    if (settle.picture !== picture) changed();
    settle.picture = picture;
  }

  // --- jobs ----------------------------------------------------------------------------------

  const enlarge = attempt(async (picture) => {
    const response = await ask("POST", `/pictures/${picture.key}/jobs?${chosen(picture)}`);
    const job = await response.json();
    job.drawn = 0;
    job.address = `/jobs/${job.key}/result.png`;
    jobs.set(job.key, { ...job, ...jobs.get(job.key) });
    const same = data.versions.filter((v) => picture.files[v.key] && v.label?.startsWith(`${job.weights} ×${picture.scale}`));
    const again = same.length ? ` (${same.length + 1})` : "";
    data.versions.push({ key: job.key, label: `${job.weights.replace(/.*\//, "")} ×${picture.scale}${again}` });
    viewer.cache.put(job.address, canvas(picture, job.size));
    picture.files[job.key] = job.address;
    viewer.sides = { left: "bicubic", right: job.key };
    viewer.renew(viewer.current);
    await hear(jobs.get(job.key));
  });

  function canvas(picture, [rows, cols]) {
    // The bicubic picture, which the bands of the result are drawn over.
    let factor = 1;
    while (Math.ceil(rows / factor) * Math.ceil(cols / factor) > data.previewPixels) factor += 1;
    const made = document.createElement("canvas");
    [made.height, made.width] = [rows, cols].map((n) => Math.ceil(n / factor));
    const under = viewer.cache.get(picture.files.bicubic ?? picture.files.lr);
    if (under.ready) made.getContext("2d").drawImage(under.image, 0, 0, made.width, made.height);
    return made;
  }

  async function hear(news) {
    // The state of a job, as the server sends it.
    const job = Object.assign(jobs.get(news.key) ?? {}, news);
    jobs.set(job.key, job);
    if (!job.address) return; // its request is not answered yet
    for (const note of job.notes.slice(job.noted ?? 0)) message(note, true);
    job.noted = job.notes.length;
    if (job.state === "failed" && !job.said) message(job.error);
    if (job.state === "failed") job.said = true;
    if (["failed", "cancelled"].includes(job.state)) return dismiss(job);
    label();
    job.drawing = (job.drawing ?? Promise.resolve()).then(() => draw(job));
    await job.drawing;
  }

  async function draw(job) {
    for (; job.drawn < job.bands.length; job.drawn += 1) {
      const image = new Image();
      image.src = `/jobs/${job.key}/bands/${job.drawn}`;
      try {
        await image.decode();
      } catch {
        return; // the job was stopped
      }
      const under = viewer.cache.get(job.address).image;
      const context = under.getContext?.("2d");
      if (!context) continue; // the whole picture is loaded already
      context.clearRect(0, job.bands[job.drawn], under.width, image.naturalHeight);
      context.drawImage(image, 0, job.bands[job.drawn]);
      viewer.draw();
    }
    if (job.state === "done") job.complete = true;
    label();
  }

  function dismiss(job) {
    // A job without a result leaves no version.
    const picture = data.pictures.find((p) => p.key === job.picture);
    if (picture?.files[job.key]) {
      delete picture.files[job.key];
      data.versions = data.versions.filter((v) => v.key !== job.key);
      viewer.data.versions = data.versions;
      for (const side of ["left", "right"]) if (viewer.sides[side] === job.key) viewer.sides[side] = null;
      viewer.renew(viewer.current);
    }
    label();
  }

  function current() {
    // The job of the version on the right, or the last one of the picture.
    const mine = [...jobs.values()].filter((j) => j.address && j.picture === viewer.picture.key);
    const active = mine.find((j) => ["waiting", "running"].includes(j.state));
    return active ?? mine.find((j) => j.key === viewer.sides.right) ?? mine.at(-1);
  }

  function label() {
    if (!viewer || work.hidden) return;
    const { picture } = viewer;
    const { found } = picture;
    const [rows, cols] = found && !picture.wrong ? [found.rows, found.cols] : picture.lr.map((n) => Math.ceil(n * picture.scale));
    find(".target").textContent = words("target", { rows, cols });
    field("slider").setAttribute("aria-valuetext", `${picture.scale} ×`);
    if (!picture.wrong && found) {
      const line = find(".estimate");
      line.classList.remove("wrong");
      line.textContent = found.seconds == null ? words("estimate_unknown")
        : words("estimate", { time: time(found.seconds), memory: memory(found.memory) });
      if (found.rows * found.cols > data.previewPixels) line.textContent += ` · ${words("shown_smaller")}`;
      find(".enlarge").disabled = false;
    }
    const damage = find(".damage");
    damage.hidden = !picture.damage.length || field("weights").value === "photo";
    const what = picture.damage.map((kind) => words(`damage_${kind}`)).join(chinese() ? "，" : " and ");
    damage.querySelector("span").textContent = words("damage", { what });
    labelJob(current());
    for (const [i, item] of viewer.thumbnails.entries()) {
      const busy = [...jobs.values()].some((j) => j.picture === data.pictures[i]?.key && ["waiting", "running"].includes(j.state));
      item.classList.toggle("busy", busy);
    }
  }

  function labelJob(job) {
    const { name } = viewer.picture;
    const active = job && ["waiting", "running"].includes(job.state);
    const bar = find("progress");
    [bar.hidden, find(".cancel").hidden] = [!active, !active];
    bar.value = job?.share ?? 0;
    find(".result").hidden = job?.state !== "done";
    let text = "";
    if (job?.state === "waiting") text = words("waiting", { name, n: Math.max(0, job.ahead - 1) });
    if (job?.state === "running") {
      const values = { name, percent: Math.floor(100 * job.share), time: time(job.left ?? 0) };
      text = words(job.left == null ? "starting" : "running", values);
    }
    if (job?.state === "done") text = words("done", { name, rows: job.size[0], cols: job.size[1] });
    if (job?.state === "cancelled") text = words("cancelled", { name });
    if (find(".state").textContent !== text) find(".state").textContent = text;
    // A screen reader hears of changes, not of each percent.
    const heard = `${job?.key} ${job?.state}`;
    if (find(".announced").dataset.of !== heard) find(".announced").textContent = text;
    find(".announced").dataset.of = heard;
    find(".status").dataset.state = job?.complete ? "complete" : job?.state ?? "";
    if (job) {
      const ending = find("[name=format]").value;
      const command = job.command + (ending === "png" ? "" : ` --format ${ending}`);
      find(".command").textContent = command;
      find(".copy").dataset.copy = command;
    }
  }

  const download = attempt(async () => {
    const response = await ask("GET", `/jobs/${current().key}/result.${find("[name=format]").value}`);
    for (const note of (response.headers.get("X-Liif-Notes") ?? "").split("\t").filter(Boolean)) message(decodeURIComponent(note), true);
    const link = document.createElement("a");
    link.download = decodeURIComponent(/filename\*=UTF-8''(.*)/.exec(response.headers.get("Content-Disposition"))[1]);
    link.href = URL.createObjectURL(await response.blob());
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });

  // --- input ---------------------------------------------------------------------------------

  for (const [name, purpose] of Object.entries(data.weights)) {
    field("weights").append(Object.assign(new Option(name, name), { purpose }));
  }
  function labelWeights() {
    for (const option of field("weights").options) {
      const purpose = option.purpose && words(`for ${option.purpose}`);
      option.textContent = purpose ? `${option.value}: ${purpose}` : option.value;
    }
  }
  for (const { name, thumb } of data.samples) {
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const image = Object.assign(document.createElement("img"), { src: thumb, alt: "" });
    button.append(image, Object.assign(document.createElement("span"), { textContent: name }));
    button.addEventListener("click", () => add(name, { sample: name }));
    item.append(button);
    find(".sample-list").append(item);
  }
  field("slider").addEventListener("input", () => { field("scale").value = field("slider").value; setScale(field("slider").value); });
  field("scale").addEventListener("input", () => { field("slider").value = field("scale").value; setScale(field("scale").value); });
  for (const name of ["weights", "precision", "back_projection", "self_ensemble"]) {
    field(name).addEventListener("change", () => { label(); changed(); });
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    enlarge(viewer.picture);
  });
  for (const button of document.querySelectorAll(".choose")) button.addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => { addFiles([...chooser.files]); chooser.value = ""; });
  find(".cancel").addEventListener("click", attempt(() => ask("DELETE", `/jobs/${current().key}`)));
  find(".remove").addEventListener("click", remove);
  find(".download").addEventListener("click", download);
  find("[name=format]").addEventListener("change", label);
  find(".use-photo").addEventListener("click", () => { field("weights").value = "photo"; label(); changed(); enlarge(viewer.picture); });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) { event.preventDefault(); addFiles([...event.clipboardData.files]); }
  });
  const dragging = (on) => document.body.classList.toggle("dragging", on);
  document.addEventListener("dragover", (event) => { event.preventDefault(); dragging(true); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) dragging(false); });
  document.addEventListener("drop", (event) => { event.preventDefault(); dragging(false); addFiles([...event.dataTransfer.files]); });
  document.addEventListener("keydown", (event) => {
    const more = find(".more");
    if (event.key === "Escape" && more.open) { more.open = false; more.querySelector("summary").focus(); }
  });
  document.addEventListener("pointerdown", (event) => { if (!event.target.closest(".more")) find(".more").open = false; });
  document.addEventListener("language", () => { labelWeights(); label(); });
  labelWeights();

  // The server stops a tab's jobs when this connection ends.
  const events = new EventSource(`/events?tab=${tab}`);
  let missing = null;
  events.addEventListener("message", (event) => hear(JSON.parse(event.data)));
  events.addEventListener("open", () => { missing?.remove(); missing = null; });
  events.addEventListener("error", () => { missing ??= message(words("lost")); });
})();
