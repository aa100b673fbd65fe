// The pad: strokes become an image as the network knows them, and the probabilities follow.
// fitInk does what mnist/handwriting.py does for photos; a test compares the two.

const network = JSON.parse(document.getElementById("network").textContent);
const classify = buildClassifier(network);

// Averages over equal parts of the rows of an image, as many as asked for, at least as exact as the pixels: a pixel that
// lies in two parts counts in each by its share.
function shrinkRows(values, height, width, parts) {
  const result = new Float64Array(parts * width), size = height / parts;
  for (let part = 0; part < parts; part++) {
    const top = part * size, bottom = top + size;
    for (let row = Math.floor(top); row < Math.min(height, Math.ceil(bottom)); row++) {
      const share = (Math.min(bottom, row + 1) - Math.max(top, row)) / size;
      for (let column = 0; column < width; column++) result[part * width + column] += share * values[row * width + column];
    }
  }
  return result;
}

function transpose(values, height, width) {
  return values.map((_, index) => values[(index % height) * width + Math.floor(index / height)]);
}

// Ink (0 to 1) to pixels (0 to 255): its box scaled to fit a square of `box` pixels, its centre of mass in the middle.
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
  const within = (place, room) => Math.max(0, Math.min(room, place));
  const rowOffset = within(Math.floor(tall / 2 - rows / sum + 0.5), tall - newHeight);
  const columnOffset = within(Math.floor(wide / 2 - columns / sum + 0.5), wide - newWidth);
  small.forEach((value, index) => {
    const row = rowOffset + Math.floor(index / newWidth), column = columnOffset + (index % newWidth);
    pixels[row * wide + column] = Math.floor((255 * value) / peak + 0.5);
  });
  return pixels;
}

const pad = document.getElementById("pad");
const seen = document.getElementById("seen").getContext("2d");
const drawing = pad.getContext("2d", { willReadFrequently: true });
const rows = [...document.querySelectorAll("#probabilities tr")];
const verdict = document.getElementById("verdict");

// Show pixels (0 to 255) to the network, and its answer to the person.
function see(pixels) {
  const [tall, wide] = network.image_shape;
  const image = seen.createImageData(wide, tall);
  pixels.forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
  seen.putImageData(image, 0, 0);
  const probabilities = classify(Float64Array.from(pixels, (value) => value / 255));
  const first = probabilities.indexOf(Math.max(...probabilities));
  rows.forEach((row, index) => {
    row.classList.toggle("first", index === first);
    row.querySelector(".bar").style.setProperty("--share", probabilities[index]);
    row.querySelector(".number").textContent = `${(100 * probabilities[index]).toFixed(1)} %`;
  });
  const said = `${rows[first].querySelector("th").textContent}, ${(100 * probabilities[first]).toFixed(1)} %`;
  if (verdict.textContent !== said) verdict.textContent = said;
  return probabilities;
}

function look() {
  const { data } = drawing.getImageData(0, 0, pad.width, pad.height);
  const ink = Float64Array.from({ length: pad.width * pad.height }, (_, index) => data[4 * index + 3] / 255);
  if (ink.some((value) => value > 0)) see(fitInk(ink, pad.height, pad.width));
}

function clear() {
  drawing.clearRect(0, 0, pad.width, pad.height);
  seen.clearRect(0, 0, ...network.image_shape.toReversed());
  rows.forEach((row) => {
    row.classList.remove("first");
    row.querySelector(".bar").style.setProperty("--share", 0);
    row.querySelector(".number").textContent = "–";
  });
  verdict.textContent = "Nothing drawn yet.";
}

const pen = { x: pad.width / 2, y: pad.height / 2, down: false };

function moveTo(x, y) {
  if (pen.down) {
    Object.assign(drawing, { lineWidth: pad.width / 13, lineCap: "round", strokeStyle: getComputedStyle(pad).color });
    drawing.beginPath();
    drawing.moveTo(pen.x, pen.y);
    drawing.lineTo(x, y);
    drawing.stroke();
    look();
  }
  Object.assign(pen, { x, y });
}

function place(event) {
  const frame = pad.getBoundingClientRect();
  return [((event.clientX - frame.left) * pad.width) / frame.width, ((event.clientY - frame.top) * pad.height) / frame.height];
}

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  pen.down = false;
  moveTo(...place(event));
  pen.down = true;
  moveTo(...place(event));  // a dot, if nothing follows
});
pad.addEventListener("pointermove", (event) => {
  const steps = event.getCoalescedEvents?.() ?? [];  // a fast hand makes several between two frames
  if (event.buttons) for (const step of steps.length ? steps : [event]) moveTo(...place(step));
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
    moveTo(pen.x, pen.y);
  } else if (event.key === "Escape") clear();
  else return;
  event.preventDefault();
});
document.getElementById("clear").addEventListener("click", clear);
