// Highlights the cell under the pointer in the confusion matrix, and filters the misclassified images by class.

const FIRST = 60;  // misclassified images that are shown before "Show all"

const confusion = document.getElementById("confusion");
const cellNote = document.getElementById("cell");
const form = document.getElementById("filter");

function highlight(cell) {
  confusion.querySelectorAll(".highlighted").forEach((element) => element.classList.remove("highlighted"));
  cellNote.textContent = "\u00a0";
  if (!cell) return;
  const heading = confusion.querySelectorAll("th[scope=col]")[cell.dataset.predicted];
  const name = cell.parentElement.querySelector("th[scope=row]");
  for (const element of [cell, heading, name]) element.classList.add("highlighted");
  cellNote.textContent = `true ${name.textContent}, predicted ${heading.textContent}: ${cell.textContent.trim()} images`;
}
for (const type of ["pointerover", "focusin"]) {
  confusion.addEventListener(type, (event) => highlight(event.target.closest("td[data-true]")));
}
confusion.addEventListener("pointerleave", () => highlight(null));

function filter(limit = FIRST) {
  const wanted = ["true", "predicted"].map((side) => [side, form.elements[`filter-${side}`].value]);
  const mistakes = [...document.querySelectorAll("#mistakes li")];
  const matching = mistakes.filter((mistake) => wanted.every(([side, value]) => !value || mistake.dataset[side] === value));
  const shown = new Set(matching.slice(0, limit));
  for (const mistake of mistakes) mistake.hidden = !shown.has(mistake);
  const total = matching.length.toLocaleString("en"), more = document.getElementById("more");
  more.hidden = shown.size === matching.length;
  more.textContent = `Show all ${total}`;
  const text = `${total} image${matching.length === 1 ? "" : "s"}`;
  document.getElementById("shown").textContent = more.hidden ? text : `${shown.size} of ${text}`;
}
form?.addEventListener("change", () => filter());
form?.addEventListener("reset", () => setTimeout(filter));  // the event precedes the reset
document.getElementById("more")?.addEventListener("click", () => filter(Infinity));
if (form) filter();  // a browser may restore the selection of an earlier visit
for (const list of [confusion, document.getElementById("confusions")]) {
  list?.addEventListener("click", (event) => {
    const chosen = event.target.closest("td.wrong, button[data-true]");
    if (!chosen) return;
    for (const side of ["true", "predicted"]) form.elements[`filter-${side}`].value = chosen.dataset[side];
    filter();
    form.scrollIntoView({ behavior: "smooth" });
  });
}

// A table wider than the screen fades out on the side where it continues.
for (const box of document.querySelectorAll(".wide")) {
  const update = () => {
    box.classList.toggle("scrolls", box.scrollWidth > box.clientWidth);
    box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  };
  box.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(box);
}
