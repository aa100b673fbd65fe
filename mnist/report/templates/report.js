// The confusion matrix points at its cells, and the mistakes are shown by true and predicted class.

const confusion = document.getElementById("confusion");
const cellNote = document.getElementById("cell");
const form = document.getElementById("filter");

function point(cell) {
  confusion.querySelectorAll(".pointed").forEach((element) => element.classList.remove("pointed"));
  cellNote.textContent = "\u00a0";
  if (!cell) return;
  const heading = confusion.querySelectorAll("thead th")[cell.dataset.predicted];
  const [name] = cell.parentElement.children;
  for (const element of [cell, heading, name]) element.classList.add("pointed");
  cellNote.textContent = `true ${name.textContent}, predicted ${heading.textContent}: ${cell.textContent.trim()} images`;
}
for (const type of ["pointerover", "focusin"]) {
  confusion.addEventListener(type, (event) => point(event.target.closest("td[data-true]")));
}
confusion.addEventListener("pointerleave", () => point(null));

function filter() {
  const wanted = ["true", "predicted"].map((side) => [side, form.elements[`filter-${side}`].value]);
  const mistakes = [...document.querySelectorAll("#mistakes li")];
  for (const mistake of mistakes) {
    mistake.hidden = wanted.some(([side, value]) => value && mistake.dataset[side] !== value);
  }
  const count = mistakes.filter((mistake) => !mistake.hidden).length;
  document.getElementById("shown").textContent = `${count.toLocaleString("en")} mistake${count === 1 ? "" : "s"}`;
}
form?.addEventListener("change", filter);
form?.addEventListener("reset", () => setTimeout(filter));  // after the form has been reset
if (form) filter();  // a browser may keep the choice of an earlier visit
confusion.addEventListener("click", (event) => {
  const cell = event.target.closest("td.wrong");
  if (!cell) return;
  for (const side of ["true", "predicted"]) form.elements[`filter-${side}`].value = cell.dataset[side];
  filter();
  form.scrollIntoView({ behavior: "smooth" });
});
