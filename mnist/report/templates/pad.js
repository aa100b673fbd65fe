// The drawing pad: prepares the drawing like the training images, and shows the network's probabilities.
// fitInk is the counterpart of fit_ink in mnist/handwriting.py; a test compares the two.

const network = JSON.parse(document.getElementById("network").textContent);
const classify = buildClassifier(network);

// Averages an image over equal parts of its rows; a pixel in two parts counts in each by its overlap.
function shrinkRows(values, height, width, parts) {
  const result = new Float64Array(parts * width), size = height / parts;
  for (let part = 0; part < parts; part++) {
    const top = part * size, bottom = top + size;
    for (let row = Math.floor(top); row < Math.min(height, Math.ceil(bottom)); row++) {
      const overlap = (Math.min(bottom, row + 1) - Math.max(top, row)) / size;
      for (let column = 0; column < width; column++) result[part * width + column] += overlap * values[row * width + column];
    }
  }
  return result;
}

function transpose(values, height, width) {
  return values.map((_, index) => values[(index % height) * width + Math.floor(index / height)]);
}

// Ink (0 to 1) to pixels (0 to 255): scaled to fit a square of `box` pixels, its centre of mass in the middle.
function fitInk(ink, height, width) {
  const [tall, wide] = network.image_shape;
  const pixels = new Uint8ClampedArray(tall * wide);
  let top = height, bottom = -1, left = width, right = -1;
  ink.forEach((value, index) => {
    if (value === 0) return;
    const row = Math.floor(index / width), column = index % width;
    top = Math.min(top, row); bottom = Math.max(bottom, row);
    left = Math.min(left, column); right = Math.max(right, column);
  });
  if (bottom < 0) return pixels;
  const inkHeight = bottom - top + 1, inkWidth = right - left + 1;
  const scale = network.box / Math.max(inkHeight, inkWidth);
  const newHeight = Math.max(1, Math.round(inkHeight * scale)), newWidth = Math.max(1, Math.round(inkWidth * scale));
  const cropped = Float64Array.from({ length: inkHeight * inkWidth }, (_, index) =>
    ink[(top + Math.floor(index / inkWidth)) * width + left + (index % inkWidth)]);
  const low = shrinkRows(cropped, inkHeight, inkWidth, newHeight);
  const small = transpose(shrinkRows(transpose(low, newHeight, inkWidth), inkWidth, newHeight, newWidth), newWidth, newHeight);

  let sum = 0, rows = 0, columns = 0, peak = 0;
  small.forEach((value, index) => {
    sum += value; peak = Math.max(peak, value);
    rows += value * Math.floor(index / newWidth); columns += value * (index % newWidth);
  });
  const clamp = (value, limit) => Math.max(0, Math.min(limit, value));
  const rowOffset = clamp(Math.floor(tall / 2 - rows / sum + 0.5), tall - newHeight);
  const columnOffset = clamp(Math.floor(wide / 2 - columns / sum + 0.5), wide - newWidth);
  small.forEach((value, index) => {
    const row = rowOffset + Math.floor(index / newWidth), column = columnOffset + (index % newWidth);
    pixels[row * wide + column] = Math.floor((255 * value) / peak + 0.5);
  });
  return pixels;
}

const pad = document.getElementById("pad");
const input = document.getElementById("input").getContext("2d");
const drawing = pad.getContext("2d", { willReadFrequently: true });
const rows = [...document.querySelectorAll("#probabilities tr")];
const prediction = document.getElementById("prediction");
const [penWidth, save] = ["pen", "save"].map((id) => document.getElementById(id));

// No prediction is certain: a probability that rounds to 100 % is "> 99.9 %", as format_probability in mnist/style.py.
const format = (probability) => (probability >= 0.9995 ? "> 99.9 %" : `${(100 * probability).toFixed(1)} %`);

// Classify pixels (0 to 255), and show them and the probabilities.
function classifyPixels(pixels) {
  const [tall, wide] = network.image_shape;
  const image = input.createImageData(wide, tall);
  pixels.forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
  input.putImageData(image, 0, 0);
  const probabilities = classify(Float64Array.from(pixels, (value) => value / 255));
  const top = probabilities.indexOf(Math.max(...probabilities));
  rows.forEach((row, index) => {
    row.classList.toggle("top", index === top);
    row.querySelector(".bar").style.setProperty("--fraction", probabilities[index]);
    row.querySelector(".number").textContent = format(probabilities[index]);
  });
  const text = `${rows[top].querySelector("th").textContent}, ${format(probabilities[top])}`;
  if (prediction.textContent !== text) prediction.textContent = text;  // screen readers announce each assignment
  return probabilities;
}

function classifyDrawing() {
  const { data } = drawing.getImageData(0, 0, pad.width, pad.height);
  const ink = Float64Array.from({ length: pad.width * pad.height }, (_, index) => data[4 * index + 3] / 255);
  save.disabled = ink.every((value) => value === 0);
  if (!save.disabled) return classifyPixels(fitInk(ink, pad.height, pad.width));
  input.clearRect(0, 0, ...network.image_shape.toReversed());
  rows.forEach((row) => {
    row.classList.remove("top");
    row.querySelector(".bar").style.setProperty("--fraction", 0);
    row.querySelector(".number").textContent = "–";
  });
  prediction.textContent = "Nothing drawn yet.";
}

const UNDO_STEPS = 100;
const snapshots = [];  // of the drawing, before each stroke and each clearing

function takeSnapshot() {
  snapshots.push(drawing.getImageData(0, 0, pad.width, pad.height));
  if (snapshots.length > UNDO_STEPS) snapshots.shift();
}

function undo() {
  if (!snapshots.length) return;
  pen.down = false;
  drawing.putImageData(snapshots.pop(), 0, 0);
  classifyDrawing();
}

function clear() {
  if (save.disabled) return;
  takeSnapshot();
  drawing.clearRect(0, 0, pad.width, pad.height);
  classifyDrawing();
}

const pen = { x: pad.width / 2, y: pad.height / 2, down: false };

function moveTo(x, y) {
  if (pen.down) {
    Object.assign(drawing, { lineWidth: penWidth.valueAsNumber, lineCap: "round", strokeStyle: getComputedStyle(pad).color });
    drawing.beginPath();
    drawing.moveTo(pen.x, pen.y);
    drawing.lineTo(x, y);
    drawing.stroke();
    classifyDrawing();
  }
  Object.assign(pen, { x, y });
}

function position(event) {
  const frame = pad.getBoundingClientRect();
  return [((event.clientX - frame.left) * pad.width) / frame.width, ((event.clientY - frame.top) * pad.height) / frame.height];
}

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  takeSnapshot();
  pen.down = false;
  moveTo(...position(event));
  pen.down = true;
  moveTo(...position(event));  // a click without a move draws a dot
});
pad.addEventListener("pointermove", (event) => {
  const steps = event.getCoalescedEvents?.() ?? [];  // several moves between two frames
  if (event.buttons) for (const step of steps.length ? steps : [event]) moveTo(...position(step));
});
for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { pen.down = false; });

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
pad.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (step) {
    const [x, y] = [pen.x + 8 * step[0], pen.y + 8 * step[1]];
    moveTo(Math.max(0, Math.min(pad.width, x)), Math.max(0, Math.min(pad.height, y)));
  } else if (event.key === " ") {
    pen.down = !pen.down;
    if (pen.down) takeSnapshot();
    moveTo(pen.x, pen.y);
  } else if (event.key === "Escape") clear();
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.shiftKey || event.key.toLowerCase() !== "z") return;
  undo();
  event.preventDefault();
});
document.getElementById("undo").addEventListener("click", undo);
document.getElementById("clear").addEventListener("click", clear);
// The saved file is the input, not the drawing: predict.py leaves images that are already prepared unchanged.
save.addEventListener("click", () => {
  Object.assign(document.createElement("a"), { href: input.canvas.toDataURL(), download: "drawing.png" }).click();
});
