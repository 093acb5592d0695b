// The page of `e6tag serve`: images go to the API of the server that sent it, and
// nowhere else.

const CATEGORIES = [
  "artist",
  "contributor",
  "copyright",
  "character",
  "species",
  "general",
  "lore",
  "meta",
  "invalid",
];
const UPLOADS = 4; // at once; further ones wait here
const MOST_TRIES = 60; // of a request, while the server is busy: about a minute
const MOST_TAGS = 300; // shown of one image
const MOST_HEATMAPS = 40; // asked for at once: all are in the address of the request
const HOVER_DELAY = 80; // milliseconds until a tag under the pointer is meant
const NEIGHBOURS = 12;

// Colours from no heat to the most, the share of an image's light that is left where
// there is no heat, and the share of the heat's colour where there is the most.
const RAMP = [
  [0, 0, 4],
  [87, 16, 110],
  [188, 55, 84],
  [249, 142, 9],
  [252, 255, 164],
];
const DIMMED = 0.45;
const COVER = 0.75;

const byId = (id) => document.getElementById(id);
const page = {
  images: [], // the newest first
  waiting: [],
  uploads: 0,
  flatThreshold: null, // null: each tag's own
  model: null,
  thresholds: new Map(),
};

class Refused extends Error {}

// The API

async function ask(path, parameters, image) {
  const address = `${path}?${new URLSearchParams(parameters)}`;
  for (let tries = 1; ; tries += 1) {
    const response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: image.file,
      signal: image.removal.signal,
    });
    if (response.status === 503 && tries < MOST_TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      continue;
    }
    const answer = await response.json();
    if (!response.ok) {
      throw new Refused(answer.error.message);
    }
    return answer;
  }
}

async function loadModel() {
  const response = await fetch("/v1/model");
  page.model = await response.json();
  for (const tag of page.model.tags) {
    page.thresholds.set(tag.name, tag.threshold);
  }
  const count = page.model.tags.length.toLocaleString("en");
  byId("model").textContent = `${count} tags`;
}

// Images that arrive

class TaggedImage {
  constructor(file) {
    this.file = file;
    this.removal = new AbortController(); // ends what is asked about the image
    this.tags = []; // all that the model knows, by score
    this.heatmaps = new Map(); // by tag: a promise of the grid
    this.pinned = null; // name of the tag whose heat map stays
    this.shown = null;
    this.element = byId("image").content.cloneNode(true).firstElementChild;
    this.image = this.find(".frame img");
    this.canvas = this.find(".heatmap");
    this.name = file.name || "pasted image";
    this.address = URL.createObjectURL(file);
    this.image.src = this.address;
    this.image.alt = this.name;
    this.image.addEventListener("error", () => this.element.classList.add("broken"));
    this.find(".name").textContent = this.name;
    this.find(".message").textContent = "Waiting…";
    this.find(".copy").addEventListener("click", () => this.copy());
    this.find(".remove").addEventListener("click", () => this.remove());
    this.find(".similar").addEventListener("click", () => this.toggleSimilar());
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  async read() {
    this.find(".message").textContent = "Reading…";
    try {
      if (this.file.size > page.model.limits.bytes) {
        const most = Math.round(page.model.limits.bytes / 2 ** 20);
        throw new Refused(`The file has more than ${most} MiB.`);
      }
      const answer = await ask("/v1/tag", { threshold: 0 }, this);
      this.accept(answer.images[0]);
    } catch (error) {
      if (!this.isRemoved()) {
        this.fail(messageOf(error));
      }
    }
    this.element.removeAttribute("aria-busy");
  }

  isRemoved() {
    return this.removal.signal.aborted;
  }

  accept(answer) {
    this.tags = answer.tags;
    this.find(".message").textContent = "";
    this.find(".similar").hidden = !page.model.has_index;
    if (answer.is_first_frame) {
      this.find(".caption").textContent = "An animation: tags of its first frame.";
    }
    if (answer.rating !== null) {
      const rating = this.find(".rating");
      rating.textContent = `Rating: ${answer.rating} (${percent(answer.ratings[answer.rating])})`;
      rating.hidden = false;
    }
    this.render();
    say(`${this.name}: ${countOf(this.selected().length)}`);
  }

  fail(message) {
    this.element.classList.add("failed");
    this.find(".message").textContent = message;
    this.find(".copy").hidden = true;
    say(`${this.name}: ${message}`);
  }

  selected() {
    return this.tags.filter((tag) => tag.score >= thresholdOf(tag));
  }

  render() {
    const selected = this.selected();
    const shown = selected.slice(0, MOST_TAGS);
    const groups = CATEGORIES.map((category) => [
      category,
      shown.filter((tag) => tag.category === category),
    ]);
    const sections = groups
      .filter(([, tags]) => tags.length > 0)
      .map(([category, tags]) => this.renderCategory(category, tags));
    this.find(".tags").replaceChildren(...sections);
    if (this.element.classList.contains("failed") || this.tags.length === 0) {
      return;
    }
    const hidden = selected.length - shown.length;
    let message = "";
    if (selected.length === 0) {
      message = "No tag reaches the threshold.";
    } else if (hidden > 0) {
      message = `The ${MOST_TAGS} best of ${countOf(selected.length)}.`;
    }
    this.find(".message").textContent = message;
  }

  renderCategory(category, tags) {
    const section = document.createElement("section");
    const heading = document.createElement("h3");
    heading.textContent = category[0].toUpperCase() + category.slice(1);
    const list = document.createElement("ul");
    list.append(...tags.map((tag) => this.renderTag(tag)));
    section.append(heading, list);
    return section;
  }

  renderTag(tag) {
    const item = byId("tag").content.cloneNode(true).firstElementChild;
    const button = item.querySelector(".tag");
    button.dataset.tag = tag.name;
    button.setAttribute("aria-pressed", String(this.pinned === tag.name));
    item.querySelector(".tag-name").textContent = tag.name;
    item.querySelector(".tag-score").textContent = percent(tag.score);
    item.querySelector(".fill").style.width = `${100 * tag.score}%`;
    item.querySelector(".mark").style.left = `${100 * thresholdOf(tag)}%`;
    const interval = item.querySelector(".interval");
    if (tag.interval === null) {
      interval.hidden = true;
    } else {
      const [low, high] = tag.interval;
      interval.style.left = `${100 * low}%`;
      interval.style.width = `${100 * (high - low)}%`;
      item.querySelector(".hidden").textContent =
        `, uncertain from ${percent(low)} to ${percent(high)}`;
      button.title = `${percent(low)} to ${percent(high)}`;
    }
    button.addEventListener("pointerenter", () => this.preview(tag.name));
    button.addEventListener("pointerleave", () => this.preview(null));
    button.addEventListener("focus", () => this.preview(tag.name));
    button.addEventListener("blur", () => this.preview(null));
    button.addEventListener("click", () => this.pin(tag.name));
    return item;
  }

  // Heat maps

  preview(name) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.show(name ?? this.pinned), HOVER_DELAY);
  }

  pin(name) {
    this.pinned = this.pinned === name ? null : name;
    for (const button of this.element.querySelectorAll(".tag")) {
      button.setAttribute("aria-pressed", String(button.dataset.tag === this.pinned));
    }
    this.preview(this.pinned);
  }

  async show(name) {
    this.shown = name;
    this.canvas.classList.remove("shown");
    delete this.canvas.dataset.tag;
    if (name === null) {
      return;
    }
    try {
      const grid = await this.heatmap(name);
      if (this.shown === name) {
        this.draw(grid);
        this.canvas.dataset.tag = name;
        this.canvas.classList.add("shown");
      }
    } catch (error) {
      this.heatmaps.delete(name);
      if (this.isRemoved()) {
        return;
      }
      say(`Heat map of ${name}: ${messageOf(error)}`);
    }
  }

  heatmap(name) {
    if (!this.heatmaps.has(name)) {
      // Those of the other tags shown come along: it is one run of the network.
      const others = this.selected().map((tag) => tag.name);
      const missing = others.filter((other) => !this.heatmaps.has(other) && other !== name);
      const names = [name, ...missing.slice(0, MOST_HEATMAPS - 1)];
      const parameters = names.map((one) => ["tag", one]);
      const answer = ask("/v1/heatmap", parameters, this);
      names.forEach((one, number) => {
        const grid = answer.then((found) => found.heatmaps[number].values);
        grid.catch(() => this.heatmaps.delete(one));
        this.heatmaps.set(one, grid);
      });
    }
    return this.heatmaps.get(name);
  }

  // The grid covers the square that the network sees, of which the image is a part, or
  // which is a part of the image.
  draw(grid) {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    const scale = Math.min(1, 1024 / Math.max(width, height, 1));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    const { left, top, right, bottom } = squareIn(this.canvas);
    context.drawImage(shade(grid), left, top, right - left, bottom - top);
  }

  // Actions

  async copy() {
    const names = this.selected().map((tag) => tag.name);
    await copyText(names.join(" "));
    say(`${this.name}: ${countOf(names.length)} copied.`);
  }

  remove() {
    this.removal.abort();
    const number = page.images.indexOf(this);
    page.images.splice(number, 1);
    page.waiting = page.waiting.filter((image) => image !== this);
    URL.revokeObjectURL(this.address);
    this.element.remove();
    const next = page.images[Math.min(number, page.images.length - 1)];
    (next?.find(".remove") ?? byId("files")).focus();
    say(`${this.name} removed.`);
  }

  async toggleSimilar() {
    const section = this.find(".neighbours");
    const list = section.querySelector("ul");
    section.hidden = !section.hidden;
    this.find(".similar").setAttribute("aria-expanded", String(!section.hidden));
    if (section.hidden || list.childElementCount > 0) {
      return;
    }
    try {
      const answer = await ask("/v1/similar", { count: NEIGHBOURS }, this);
      const { neighbours } = answer.images[0];
      list.replaceChildren(...neighbours.map(renderNeighbour));
      say(`${this.name}: ${neighbours.length} similar images.`);
    } catch (error) {
      if (this.isRemoved()) {
        return;
      }
      section.hidden = true;
      this.find(".similar").setAttribute("aria-expanded", "false");
      say(`Similar images: ${messageOf(error)}`);
    }
  }
}

function renderNeighbour(neighbour) {
  const item = byId("neighbour").content.cloneNode(true).firstElementChild;
  const name = neighbour.path.split(/[\\/]/).at(-1);
  const image = item.querySelector("img");
  image.src = neighbour.thumbnail;
  image.alt = "";
  item.title = neighbour.path;
  item.querySelector(".neighbour-similarity").textContent = percent(neighbour.similarity);
  item.querySelector(".neighbour-name").textContent = name;
  return item;
}

function squareIn({ width, height }) {
  if (page.model.fit === "stretch") {
    return { left: 0, top: 0, right: width, bottom: height };
  }
  const longest = Math.max(width, height);
  const shortest = Math.min(width, height);
  const side = page.model.fit === "pad" ? longest : shortest;
  const left = (width - side) / 2;
  const top = (height - side) / 2;
  return { left, top, right: left + side, bottom: top + side };
}

// Returns a canvas of the grid's size, to be laid over the image: where the tag is, its
// colours; elsewhere the image, darkened. It is the overlay of e6tag/heatmaps.py.
function shade(grid) {
  const highest = Math.max(...grid.flat());
  const canvas = document.createElement("canvas");
  canvas.width = grid[0].length;
  canvas.height = grid.length;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  grid.flat().forEach((value, number) => {
    const heat = highest > 0 ? Math.max(0, value / highest) : 0;
    const cover = COVER * heat;
    const alpha = 1 - (DIMMED + (1 - DIMMED) * heat) * (1 - cover);
    const colour = colourOf(heat).map((level) => (level * cover) / alpha);
    pixels.data.set([...colour, 255 * alpha], 4 * number);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

function colourOf(heat) {
  const place = heat * (RAMP.length - 1);
  const step = Math.min(Math.floor(place), RAMP.length - 2);
  const share = place - step;
  return RAMP[step].map((low, channel) => low + share * (RAMP[step + 1][channel] - low));
}

async function addFiles(files) {
  await modelLoaded;
  for (const file of files) {
    const image = new TaggedImage(file);
    page.images.unshift(image);
    page.waiting.push(image);
    byId("images").prepend(image.element);
  }
  readWaiting();
}

async function readWaiting() {
  while (page.uploads < UPLOADS && page.waiting.length > 0) {
    page.uploads += 1;
    const image = page.waiting.shift();
    image.read().finally(() => {
      page.uploads -= 1;
      readWaiting();
    });
  }
}

// Threshold

function thresholdOf(tag) {
  return page.flatThreshold ?? page.thresholds.get(tag.name);
}

function setThreshold(threshold) {
  page.flatThreshold = threshold;
  const isOwn = threshold === null;
  const text = isOwn ? "each tag's own" : `${percent(threshold)} for all`;
  byId("threshold-text").textContent = text;
  byId("threshold").setAttribute("aria-valuetext", text);
  byId("threshold").classList.toggle("own", isOwn);
  byId("threshold-reset").disabled = isOwn;
  for (const image of page.images) {
    image.render();
  }
}

// Small things

function percent(share) {
  return `${Math.round(100 * share)} %`;
}

function countOf(number) {
  return `${number.toLocaleString("en")} ${number === 1 ? "tag" : "tags"}`;
}

function say(text) {
  byId("status").textContent = text;
}

function messageOf(error) {
  if (error instanceof Refused) {
    return error.message;
  }
  console.error(error);
  return "The server does not answer.";
}

async function copyText(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Pages that came over plain HTTP from another machine have no clipboard.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

const modelLoaded = loadModel().catch((error) => say(messageOf(error)));
setThreshold(null);

byId("files").addEventListener("change", (event) => {
  addFiles([...event.target.files]);
  event.target.value = ""; // so that the same file can be chosen again
});
byId("threshold").addEventListener("input", (event) => {
  setThreshold(Number(event.target.value));
});
byId("threshold-reset").addEventListener("click", () => {
  setThreshold(null);
  byId("threshold").focus(); // the button is disabled now
});
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length > 0) {
    event.preventDefault();
    addFiles(files);
  }
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", () => {
  document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  addFiles([...event.dataTransfer.files]);
});
