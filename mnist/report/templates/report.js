// Highlights the cell under the pointer in the confusion matrix, and filters the misclassified images by class.

const confusion = document.getElementById("confusion");
const cellNote = document.getElementById("cell");
const form = document.getElementById("filter");

function highlight(cell) {
  confusion.querySelectorAll(".highlighted").forEach((element) => element.classList.remove("highlighted"));
  cellNote.textContent = "\u00a0";
  if (!cell) return;
  const heading = confusion.querySelectorAll("thead th")[cell.dataset.predicted];
  const [name] = cell.parentElement.children;
  for (const element of [cell, heading, name]) element.classList.add("highlighted");
  cellNote.textContent = `true ${name.textContent}, predicted ${heading.textContent}: ${cell.textContent.trim()} images`;
}
for (const type of ["pointerover", "focusin"]) {
  confusion.addEventListener(type, (event) => highlight(event.target.closest("td[data-true]")));
}
confusion.addEventListener("pointerleave", () => highlight(null));

function filter() {
  const wanted = ["true", "predicted"].map((side) => [side, form.elements[`filter-${side}`].value]);
  const mistakes = [...document.querySelectorAll("#mistakes li")];
  for (const mistake of mistakes) {
    mistake.hidden = wanted.some(([side, value]) => value && mistake.dataset[side] !== value);
  }
  const count = mistakes.filter((mistake) => !mistake.hidden).length;
  document.getElementById("shown").textContent = `${count.toLocaleString("en")} image${count === 1 ? "" : "s"}`;
}
form?.addEventListener("change", filter);
form?.addEventListener("reset", () => setTimeout(filter));  // the event precedes the reset
if (form) filter();  // a browser may restore the selection of an earlier visit
confusion.addEventListener("click", (event) => {
  const cell = event.target.closest("td.wrong");
  if (!cell) return;
  for (const side of ["true", "predicted"]) form.elements[`filter-${side}`].value = cell.dataset[side];
  filter();
  form.scrollIntoView({ behavior: "smooth" });
});
