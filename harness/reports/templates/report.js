"use strict";
// Sorting, filtering, what stands behind a value, and print. Nothing is loaded or kept; without it the page shows all.
// Names of mixes, classes and levels come from attributes and are only ever set as text.
const page = document.querySelector("main");
const all = (selector, within = page) => [...within.querySelectorAll(selector)];

// -- sorting: a click on a header sorts the rows of each group of a table, stably; a third click undoes it ----------

const letters = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const NUMBER = /^(<\s*)?([+-]?\d[\d,]*(?:\.\d+)?)/;

// A number, a text, or null where a number is asked for and there is none: such rows go last, whatever the direction.
function sortKey(cell, isNumber) {
  if (!cell) return null;
  if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
  const text = cell.textContent.trim().replace("\u2212", "-");
  if (!isNumber) return text;
  const found = NUMBER.exec(text);
  return found && Number(found[2].replaceAll(",", "")) - (found[1] ? 1e-9 : 0);
}

function cellAt(row, column) {
  let at = 0;
  for (const cell of row.cells) {
    at += cell.colSpan;
    if (column < at) return cell;
  }
  return null;
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "string" ? letters.compare(a, b) : a - b);
}

function sortRows(table, original, column, isNumber, direction) {
  for (const [body, rows] of original) {
    const keyed = rows.map((row) => [sortKey(cellAt(row, column), isNumber), row]);
    if (direction) keyed.sort((a, b) => compare(a[0], b[0], direction === "ascending" ? 1 : -1));
    body.append(...keyed.map((pair) => pair[1])); // a group's title is not among them and stays in front
  }
}

function makeSortable(table) {
  const original = [...table.tBodies].map((body) => [body, [...body.rows].filter((row) => !row.querySelector("[scope=rowgroup]"))]);
  if (!table.tHead || !original.some(([, rows]) => rows.length > 1)) return;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("plot") || !head.textContent.trim()) return;
    const isNumber = head.classList.contains("num");
    const cycle = isNumber ? ["descending", "ascending", null] : ["ascending", "descending", null];
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = cycle[(cycle.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
      for (const other of heads) other.removeAttribute("aria-sort");
      if (next) head.setAttribute("aria-sort", next);
      sortRows(table, original, column, isNumber, next);
      roam(table);
    });
  });
}

// -- what stands behind a value: on hover, focus and tap; Escape hides it -------------------------------------------

const tip = document.createElement("div");
tip.id = "tip";
tip.setAttribute("role", "tooltip");
tip.hidden = true;
document.body.append(tip);
let shown = null;

function show(element) {
  hide();
  shown = element;
  tip.textContent = element.dataset.tip;
  tip.hidden = false;
  element.setAttribute("aria-describedby", tip.id);
  const at = element.getBoundingClientRect(), size = tip.getBoundingClientRect(), room = document.documentElement;
  const below = at.bottom + size.height <= room.clientHeight;
  tip.style.top = `${Math.max(0, below ? at.bottom : at.top - size.height)}px`;
  tip.style.left = `${Math.max(4, Math.min(at.left, room.clientWidth - size.width - 4))}px`;
}

function hide() {
  if (shown) shown.removeAttribute("aria-describedby");
  shown = null;
  tip.hidden = true;
}

// The value that an event is about: itself, or that of the row whose plot was pointed at.
function valueAt(target) {
  const own = target.closest("[data-tip]");
  return own ?? target.closest("td.plot")?.parentElement.querySelector("td[data-tip]") ?? null;
}

function onPoint(event) {
  if (tip.contains(event.target)) return;
  const value = valueAt(event.target);
  if (value) show(value);
  else hide();
}

// One stop of the Tab key per table or drawing; arrow keys, Home and End move on from there.
function roam(group) {
  all("[data-tip]", group).forEach((value, index) => value.setAttribute("tabindex", index ? "-1" : "0"));
}

function onKey(event) {
  if (event.key === "Escape") return hide();
  const here = event.target.closest?.("[data-tip]"), group = here?.closest("table, svg");
  if (!group) return;
  const values = all("[data-tip]", group).filter((value) => value.getClientRects().length);
  const at = values.indexOf(here), last = values.length - 1;
  const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const next = values[Math.max(0, Math.min(last, steps[event.key]))];
  for (const value of values) value.setAttribute("tabindex", value === next ? "0" : "-1");
  next.focus();
}

// Without this script the browser shows titles itself; two of them would be one too many.
function takeTitles() {
  for (const element of all("[title]")) {
    element.dataset.tip = element.title;
    element.removeAttribute("title");
  }
  for (const title of all("svg g > title")) {
    title.parentElement.dataset.tip = title.textContent;
    title.parentElement.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  all("table, svg[role=group]").forEach(roam);
}

// -- the filter: what an element is about stands in its attributes; the choice stands in the address -----------------

const form = document.getElementById("filter");
const choices = all("select", form);
const carriers = all("[data-learner], [data-class], [data-variable]");
const leaves = carriers.filter((one) => !one.querySelector("[data-learner], [data-class], [data-variable]"));
const notes = all("section")
  .filter((section) => carriers.some((one) => section.contains(one)))
  .map((section) => {
    const note = document.createElement("p");
    note.className = "nothing";
    note.textContent = "Nothing here matches the filter.";
    note.hidden = true;
    section.querySelector("h2").after(note);
    return [section, note];
  });

function filter() {
  const chosen = choices.filter((choice) => choice.value);
  const isOff = (one) => chosen.some(({ name, value }) => one.dataset[name] !== undefined && one.dataset[name] !== value);
  for (const one of carriers) one.classList.toggle("off", isOff(one));
  const left = leaves.filter((one) => !one.closest(".off"));
  for (const [section, note] of notes) note.hidden = left.some((one) => section.contains(one));
  if (chosen.length) for (const part of all("details")) openIfChosen(part, chosen);
  form.querySelector("output").textContent = chosen.length ? `${left.length} of ${leaves.length} parts shown` : "";
  hide();
}

// A folded part that was asked for by name is unfolded.
function openIfChosen(part, chosen) {
  const about = part.closest("[data-learner], [data-variable]");
  if (about && chosen.some(({ name, value }) => about.dataset[name] === value)) part.open = true;
}

// `#by-class&learner=tfidf`: the place on the page, then what was chosen.
function readAddress() {
  const parts = location.hash.slice(1).split("&"), anchor = parts[0].includes("=") ? "" : parts[0];
  const given = new URLSearchParams(parts.filter((part) => part.includes("=")).join("&"));
  return { anchor, given };
}

function writeAddress(anchor) {
  const state = new URLSearchParams(choices.filter((one) => one.value).map((one) => [one.name, one.value]));
  const hash = [anchor, state.toString()].filter(Boolean).join("&");
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

function choose(given) {
  for (const choice of choices) {
    const wanted = given.get(choice.name) ?? "";
    choice.value = [...choice.options].some((option) => option.value === wanted) ? wanted : "";
  }
  filter();
}

function onAddress(isFirst) {
  const { anchor, given } = readAddress();
  if (isFirst || given.size) choose(given); // a plain link to a place keeps what was chosen
  if (given.size) document.getElementById(anchor)?.scrollIntoView();
  writeAddress(anchor);
}

form.addEventListener("change", () => { filter(); writeAddress(readAddress().anchor); });
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(() => { filter(); writeAddress(readAddress().anchor); }));
addEventListener("hashchange", () => onAddress(false));

// -- long parts are folded on a phone; print shows everything --------------------------------------------------------

const unfolded = [];
addEventListener("beforeprint", () => {
  hide();
  unfolded.push(...all("details:not([open])"));
  for (const part of unfolded) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of unfolded.splice(0)) part.open = false;
});

if (matchMedia("(max-width: 30rem)").matches) for (const part of all("details.long")) part.open = false;
takeTitles();
all("table").forEach(makeSortable);
form.hidden = false;
onAddress(true);
document.addEventListener("pointerover", onPoint);
document.addEventListener("click", onPoint);
document.addEventListener("focusin", onPoint);
document.addEventListener("keydown", onKey);
// What is shown follows its value until that is out of sight; capture, because tables scroll by themselves.
function onScroll() {
  const at = shown?.getBoundingClientRect();
  if (at) (at.bottom < 0 || at.top > innerHeight ? hide : show)(shown);
}
addEventListener("scroll", onScroll, { passive: true, capture: true });
