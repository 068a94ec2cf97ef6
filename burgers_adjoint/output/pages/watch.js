"use strict";
// What the page shows is made of text nodes only: nothing that a run says is taken for markup.
const WORDS = {
  starting: ["starting", "live"], running: ["running", "live"], died: ["died", "bad"],
  stopped: ["stopped", "warn"], failed: ["failed", "bad"], finished: ["finished", "good"],
  waiting: ["nothing runs", "warn"], gone: ["gone", "bad"],
};
const SILENT_SECONDS = 30;
const COLOURS = ["#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b"]
  .map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
const at = (id) => document.getElementById(id);
let shown = null, state = null;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

const count = (n) => n.toLocaleString("en");
const clock = (seconds) => new Date(seconds * 1000).toLocaleString("sv");
const value = (x) => (x === 0 ? "0" : Math.abs(x) >= 1e-3 && Math.abs(x) < 1e4 ? x.toPrecision(4) : x.toExponential(3));

function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} d`;
}

function size(bytes) {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${(bytes / 1024 ** power).toPrecision(3)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

function cards(entries) {
  at("cards").replaceChildren(...entries.map(([name, text]) => {
    const card = element("div");
    card.append(element("div", name, "name"), element("div", text, "value"));
    return card;
  }));
}

function showProgress(told) {
  const done = told ? told.forward_steps + told.reverse_steps : 0;
  const over = told && told.phase === "done";
  const share = over ? 1 : told && told.total ? done / told.total : 0;
  const bar = at("progress");
  bar.className = told && told.phase === "reverse" ? "reverse" : "";
  bar.firstElementChild.style.width = `${100 * share}%`;
  bar.setAttribute("aria-valuenow", (100 * share).toFixed(0));
  if (!told) {
    cards([["status", "none: the run is too young, over at once, or output.preview = 0"]]);
    return;
  }
  const entries = [["phase", told.phase === "done" ? "done" : told.phase + (/ward|reverse/.test(told.phase) ? " sweep" : "")]];
  entries.push(["progress", told.total || over ? `${(100 * share).toFixed(1)} %` : "end not known yet"]);
  entries.push(["at step", `${count(told.step)} of ${told.n_steps === null ? "?" : count(told.n_steps)}`]);
  entries.push(["forward steps", count(told.forward_steps)]);
  if (told.command !== "forward") entries.push(["reverse steps", count(told.reverse_steps)]);
  if (told.command !== "forward") entries.push(["snapshots", count(told.snapshots.length)]);
  if (told.evaluation) entries.push(["evaluation", count(told.evaluation)]);
  if (state.state === "running" && told.seconds_left !== null) entries.push(["time left", `about ${span(told.seconds_left)}`]);
  const job = told.jobs[told.jobs.length - 1];
  entries.push(["ranks", `${job.holder.ranks} (${job.process_grid[0]} × ${job.process_grid[1]})`]);
  if (told.schedule) entries.push(["schedule", told.schedule]);
  if (told.objective !== null) entries.push(["J", told.objective.toPrecision(9)]);
  cards(entries);
}

function showState() {
  const told = state.status;
  let [word, kind] = WORDS[state.state];
  const silent = state.state === "running" && state.age > SILENT_SECONDS && told.phase !== "writing";
  if (silent) kind = "warn";
  at("state").textContent = word;
  at("state").className = `badge ${kind}`;
  at("title").textContent = told ? told.command : "run";
  document.title = `${word} – ${state.folder}`;
  const sentences = [];
  if (state.text) sentences.push(state.text);
  if (silent) sentences.push(`it has not said for ${span(state.age)} how far it is`);
  if (state.state === "died") sentences.push("below is its last state; a resumed job goes on here");
  at("text").textContent = sentences.join("; ");
  at("text").hidden = !sentences.length;
  at("foot").textContent = told ? `Last word of the run ${span(state.age)} ago; watching takes ${(100 * told.preview_share).toFixed(2)} % of its time.` : "";
}

function rows(id, made) {
  at(id).replaceChildren(...made.map((cells) => {
    const row = element("tr");
    row.append(...cells.map(([text, kind]) => element("td", text, kind)));
    return row;
  }));
  at(`${id}-section`).hidden = !made.length;
}

function showTables() {
  const told = state.status;
  rows("jobs", told ? told.jobs.map((job, n) => {
    const last = n === told.jobs.length - 1;
    const end = last && state.state === "died" ? "died" : job.end || "";
    const kind = WORDS[end] ? WORDS[end][1] : "";
    const when = job.ended ? `, ${clock(job.ended)}` : "";
    return [[clock(job.begun)], [String(job.holder.ranks)], [count(job.first), "number"], [state.jobs[n]],
            [end ? `${end}${when}${job.message ? `: ${job.message}` : ""}` : "under way", kind]];
  }).reverse() : []);
  rows("generations", state.generations.map((one) => one.state === "whole"
    ? [[count(one.generation), "number"], [clock(one.saved_at)], [one.phase], [count(one.position), "number"],
       [count(one.snapshots), "number"], [size(one.bytes), "number"], ["whole", "good"]]
    : [[count(one.generation), "number"], [""], [""], [""], [""], [""], [one.state, "bad"]]));
  const events = told ? told.events : [];
  at("events").replaceChildren(...events.slice().reverse().map((event) => {
    const item = element("li");
    item.append(element("time", clock(event.at)), event.text);
    return item;
  }));
  at("events-section").hidden = !events.length;
}

function drawPlot() {
  const told = state.status, canvas = at("plot");
  const places = told ? told.places : [];
  at("schedule-section").hidden = places.length < 2;
  if (places.length < 2) return;
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  pen.scale(ratio, ratio);
  pen.font = "12px system-ui, sans-serif";
  const now = [told.forward_steps + told.reverse_steps, told.step, told.phase === "reverse" || told.reverse_steps > 0];
  const path = [...places, now];
  const most = Math.max(told.total || 0, ...path.map((place) => place[0]), 1);
  const top = Math.max(told.n_steps || 0, ...path.map((place) => place[1]), 1);
  const left = 12 + pen.measureText(count(top)).width, right = width - 14, south = height - 34, north = 10;
  const x = (done) => left + (right - left) * done / most, y = (step) => south - (south - north) * step / top;
  pen.strokeStyle = colour("line");
  pen.strokeRect(left, north, right - left, south - north);
  pen.fillStyle = colour("soft");
  pen.textAlign = "right";
  pen.fillText(count(top), left - 6, north + 10);
  pen.fillText("0", left - 6, south);
  pen.fillText(count(Math.round(most)), right, south + 15);
  pen.textAlign = "left";
  pen.fillText("0", left, south + 15);
  pen.textAlign = "center";
  pen.fillText("steps done", (left + right) / 2, south + 28);
  pen.setLineDash([4, 4]);
  pen.strokeStyle = colour("part6");
  for (const job of told.jobs.slice(1)) {
    pen.beginPath();
    pen.moveTo(x(job.first), north);
    pen.lineTo(x(job.first), south);
    pen.stroke();
  }
  pen.setLineDash([]);
  pen.lineWidth = 2;
  for (let n = 1; n < path.length; n++) {
    if (path[n][0] < path[n - 1][0]) continue;  // the steps between them were lost
    pen.strokeStyle = colour(path[n][2] ? "part2" : "part1");
    pen.beginPath();
    pen.moveTo(x(path[n - 1][0]), y(path[n - 1][1]));
    pen.lineTo(x(path[n][0]), y(path[n][1]));
    pen.stroke();
  }
  pen.lineWidth = 1;
  pen.strokeStyle = colour("part3");
  for (const step of told.snapshots) {
    pen.beginPath();
    pen.moveTo(right - 8, y(step));
    pen.lineTo(right + 6, y(step));
    pen.stroke();
  }
  pen.fillStyle = colour("ink");
  pen.beginPath();
  pen.arc(x(now[0]), y(now[1]), 4, 0, 7);
  pen.fill();
}

function hue(share) {
  const place = (Math.min(1, Math.max(-1, share)) + 1) / 2 * (COLOURS.length - 1);
  const low = Math.min(Math.floor(place), COLOURS.length - 2), part = place - low;
  return COLOURS[low].map((from, n) => from + (COLOURS[low + 1][n] - from) * part);
}

function drawField(canvas, points, factor, [height, width]) {
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d"), image = pen.createImageData(width, height);
  for (let j = 0; j < height; j++) {
    for (let i = 0; i < width; i++) {
      const share = points[j * width + i], place = 4 * ((height - 1 - j) * width + i);
      const rgb = Number.isFinite(share) ? hue(share * factor) : [120, 120, 120];
      image.data.set([rgb[0], rgb[1], rgb[2], 255], place);
    }
  }
  pen.putImageData(image, 0, 0);
}

async function showFields(number) {
  const answer = await fetch("preview");
  if (!answer.ok) return;
  const data = await answer.arrayBuffer();
  const bytes = new Uint8Array(data), end = bytes.indexOf(10);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  const all = new Float32Array(data.slice(end + 1)), [height, width] = head.shape;
  const group = (name) => name.split(" ")[0].length > 1;  // a cotangent's fields share a scale
  const figures = head.fields.map((name, n) => {
    const largest = Math.max(...head.largest.filter((_, m) => group(head.fields[m]) === group(name)));
    const canvas = element("canvas", undefined, "field"), scale = element("div", undefined, "scale");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", name);
    canvas.style.aspectRatio = `${head.x[1] - head.x[0]} / ${head.y[1] - head.y[0]}`;
    drawField(canvas, all.subarray(n * height * width, (n + 1) * height * width), largest ? head.largest[n] / largest : 1, head.shape);
    scale.append(element("span", value(-largest)), element("i"), element("span", value(largest)));
    const figure = element("figure"), step = group(name) ? head.cotangent_step : head.step;
    figure.append(element("h3", `${name} at step ${count(step)}`), canvas, scale);
    return figure;
  });
  at("fields").replaceChildren(...figures);
  at("fields-caption").textContent = `${width} × ${height} of ${head.grid[1]} × ${head.grid[0]} points, t = ${value(head.time)}, x from ${value(head.x[0])} to ${value(head.x[1])}, y from ${value(head.y[0])} to ${value(head.y[1])}; taken ${clock(head.taken)}`;
  at("fields-section").hidden = false;
  shown = number;
}

async function look() {
  try {
    const answer = await fetch("state");
    if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
    state = await answer.json();
    at("connection").hidden = true;
    showState();
    showProgress(state.status);
    showTables();
    drawPlot();
    const told = state.status;
    if (told && told.preview !== 0 && told.preview !== shown) await showFields(told.preview);
    if (!told || told.preview === 0) at("fields-section").hidden = true;
  } catch (error) {
    at("connection").textContent = `The server of this page does not answer (${error.message}): what is shown is from before. The page goes on when burgers-adjoint watch is started again.`;
    at("connection").hidden = false;
  }
  setTimeout(look, 1000);
}

window.addEventListener("resize", () => state && drawPlot());
look();
