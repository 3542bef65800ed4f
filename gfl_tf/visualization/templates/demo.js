"use strict";

const at = (id) => document.getElementById(id);
const settings = JSON.parse(at("settings").textContent);

let name = "";  // of the file that is shown
let answer = null;  // the server's, for it
let request = null;  // AbortController of the one under way
let picked = null;  // the detection that stands out


// From a file to an answer.

function takeOne(files, otherwise) {
  if (!files.length) {
    say(otherwise, "bad");
    return;
  }
  detect(files[0], files.length > 1 ? `, the first of ${files.length} files` : "");
}

async function detect(file, remark) {
  request?.abort();
  const mine = new AbortController();
  request = mine;
  [name, answer, picked] = [(file.name || "picture") + remark, null, null];
  draw();
  at("turned").hidden = at("drop").hidden = true;
  if (file.size > settings.max_mib * 2 ** 20) {
    say(`${name}: the file has more than ${settings.max_mib} MiB`, "bad");
    at("frame").hidden = true;
    return;
  }
  say(`${name}: looking …`);
  try {
    show(await still(file));
    const response = await fetch("detect", {method: "POST", body: file, signal: mine.signal});
    const found = await response.json();
    if (!response.ok) throw new Error(found.error);
    answer = found;
    fit(answer.width, answer.height);
    at("turned").hidden = answer.orientation === 1;
    draw();
  } catch (error) {
    if (mine.signal.aborted) return;
    // What fetch itself raises is a TypeError.
    say(error instanceof TypeError ? "The server does not answer. Does gfl-serve-demo still run?"
      : `${name}: ${error.message}`, "bad");
  } finally {
    if (request === mine) request = null;
  }
}

async function still(file) {
  // A GIF may move; the model takes its first frame.
  if (file.type !== "image/gif") return file;
  try {
    const frame = await createImageBitmap(file);
    const canvas = new OffscreenCanvas(frame.width, frame.height);
    canvas.getContext("2d").drawImage(frame, 0, 0);
    return await canvas.convertToBlob();
  } catch {
    return file;  // damaged, as the server will say
  }
}

function show(blob) {
  URL.revokeObjectURL(at("picture").src);
  at("picture").src = URL.createObjectURL(blob);
  at("picture").alt = name;
}

function fit(width, height) {
  at("frame").hidden = false;
  at("frame").style.aspectRatio = `${width} / ${height}`;
  at("frame").style.width = `min(100%, max(16rem, 100vh - 12rem) * ${width / height})`;
  at("boxes").setAttribute("viewBox", `0 0 ${width} ${height}`);
}

function say(text, kind = "") {
  at("status").textContent = text;
  at("status").className = kind;
}


// From an answer to the picture and the list. No request is made.

function draw() {
  const least = Number(at("least").value);
  at("least-shown").textContent = least.toFixed(2);
  const shown = answer ? answer.detections.filter((detection) => detection.score >= least) : [];
  if (!shown.includes(picked)) picked = null;
  // The smallest lie on top, where they can be pointed at.
  const drawn = [...shown].sort((one, other) => area(other.box) - area(one.box));
  at("boxes").replaceChildren(...drawn.map(drawBox));
  at("labels").replaceChildren(...[...shown].reverse().map(drawLabel));
  at("list").replaceChildren(...shown.map(drawRow));
  at("side").hidden = !answer;
  at("drop").hidden = Boolean(name);
  if (answer) {
    const of = `${shown.length} of ${answer.detections.length} detections`;
    say(`${name}: ${answer.width} x ${answer.height} pixels, ${of} shown, found in ${answer.seconds.toFixed(2)} s`);
  }
  pick(picked);
}

function area([x1, y1, x2, y2]) {
  return (x2 - x1) * (y2 - y1);
}

function reachOf(detection) {
  // How far the band reaches to either side of the left, top, right and bottom edge, in pixels; undefined: no band.
  const [key, level] = (at("bands")?.value ?? "").split(" ");
  return level === undefined ? detection[key] : detection[key]?.[level];
}

function drawBox(detection) {
  const [x1, y1, x2, y2] = detection.box;
  const group = svg("g", {});
  const reach = reachOf(detection);
  if (reach) {
    const [left, top, right, bottom] = reach;
    const outer = rectangle(x1 - left, y1 - top, x2 + right, y2 + bottom);
    const [inner1, inner2, inner3, inner4] = [x1 + left, y1 + top, x2 - right, y2 - bottom];
    const hole = inner3 > inner1 && inner4 > inner2 ? rectangle(inner1, inner2, inner3, inner4) : "";
    group.append(svg("path", {d: outer + hole}));
  }
  group.append(svg("rect", {x: x1, y: y1, width: x2 - x1, height: y2 - y1}));
  return stands(group, detection);
}

function rectangle(x1, y1, x2, y2) {
  return `M${x1} ${y1}H${x2}V${y2}H${x1}Z`;
}

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function drawLabel(detection) {
  const label = element("span", `${detection.class} ${detection.score.toFixed(2)}`);
  const [x1, y1] = detection.box;
  label.style.left = `${100 * x1 / answer.width}%`;
  label.style.top = `${100 * y1 / answer.height}%`;
  label.classList.toggle("above", y1 > 0.04 * answer.height);
  return stands(label, detection);
}

function drawRow(detection) {
  const row = element("li", detection.class);
  row.setAttribute("role", "option");
  row.id = `detection-${answer.detections.indexOf(detection)}`;
  const reach = reachOf(detection);
  const edges = detection.box.map((place, side) => {
    return element("span", place.toFixed(0) + (reach ? ` ± ${reach[side].toFixed(1)}` : ""));
  });
  const cells = element("div", "");
  cells.className = "edges";
  cells.append(...edges);
  row.append(element("b", detection.score.toFixed(2)), cells);
  return stands(row, detection);
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function stands(made, detection) {
  // What stands for a detection has its colours, and picks it where it is pointed at.
  const {colour, ink} = settings.classes[detection.class_index];
  made.style.setProperty("--colour", colour);
  made.style.setProperty("--label", ink);
  made.detection = detection;
  made.addEventListener("click", () => pick(detection === picked ? null : detection));
  return made;
}

function pick(detection) {
  picked = detection;
  at("frame").classList.toggle("picking", Boolean(picked));
  for (const made of document.querySelectorAll("#boxes g, #labels span, #list li")) {
    const is = Boolean(picked) && made.detection === picked;
    made.classList.toggle("picked", is);
    if (made.matches("li")) {
      made.setAttribute("aria-selected", is);
      if (is) made.scrollIntoView({block: "nearest"});
    }
  }
  const row = at("list").querySelector(".picked");
  if (row) at("list").setAttribute("aria-activedescendant", row.id);
  else at("list").removeAttribute("aria-activedescendant");
}

function step(key) {
  const shown = [...at("list").children].map((row) => row.detection);
  const now = shown.indexOf(picked);
  const next = {ArrowDown: now + 1, ArrowUp: now < 0 ? shown.length - 1 : now - 1, Home: 0, End: shown.length - 1}[key];
  if (next === undefined || !shown.length) return false;
  pick(shown[Math.min(Math.max(next, 0), shown.length - 1)]);
  return true;
}


// What the user does.

at("file").addEventListener("change", (event) => {
  takeOne(event.target.files, "");
  event.target.value = "";  // so that the same file can be chosen again
});
at("picture").addEventListener("load", () => {
  if (!answer) fit(at("picture").naturalWidth, at("picture").naturalHeight);
});
at("picture").addEventListener("error", () => { at("frame").hidden = !answer; });
at("least").addEventListener("input", draw);
at("bands")?.addEventListener("change", draw);
at("list").addEventListener("keydown", (event) => { if (step(event.key)) event.preventDefault(); });
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (request) {
    request.abort();
    request = null;
    say(`${name}: stopped`);
  } else {
    pick(null);
  }
});
document.addEventListener("paste", (event) => takeOne(event.clipboardData.files, "There is no picture to paste."));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  takeOne(event.dataTransfer.files, "That was no file: save the picture, and drop the file.");
});
draw();
