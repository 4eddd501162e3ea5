/* Chips of the words that the model knows: a press puts one into the prompt, another takes it out again. */
const { made } = window.dom;
const details = element.querySelector(".vocabulary");
const box = element.querySelector(".families");
const chips = [];

const area = () => document.querySelector("#field-prompt textarea");
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
/* A phrase as it stands in a prompt, with the comma or the space before it. */
const found = (phrase) => new RegExp(`(?:^|,? +|,)(${escaped(phrase)})(?![\\w-])`, "i");

function write(text) {
  const prompt = area();
  prompt.value = text;
  prompt.dispatchEvent(new Event("input", { bubbles: true }));
}

function joined(text, { phrase, after }) {
  const before = text.trimEnd();
  if (!before) return phrase;
  const continues = after === null || after.some((word) => before.toLowerCase().endsWith(word));
  return before.endsWith(",") ? `${before} ${phrase}` : `${before}${continues ? "" : ","} ${phrase}`;
}

function press(chip) {
  const text = area().value;
  if (found(chip.phrase).test(text)) write(text.replace(found(chip.phrase), "").replace(/^[, ]+/, ""));
  else write(joined(text, chip));
  paint();
}

function paint() {
  const text = area()?.value || "";
  for (const chip of chips) chip.button.setAttribute("aria-pressed", String(found(chip.phrase).test(text)));
}

/* One stop of the Tab key; the arrows go from word to word. */
function move(event) {
  const at = chips.findIndex(({ button }) => button === document.activeElement);
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  chips[at].button.tabIndex = -1;
  const next = chips[(to + chips.length) % chips.length].button;
  next.tabIndex = 0;
  next.focus();
}

for (const { label, phrases, after } of props.families) {
  const row = made("div", "family");
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", label);
  row.append(made("span", "", label));
  for (const phrase of phrases) {
    const button = made("button", "", phrase);
    const chip = { button, phrase, after };
    button.type = "button";
    button.tabIndex = chips.length ? -1 : 0;
    button.addEventListener("click", () => press(chip));
    chips.push(chip);
    row.append(button);
  }
  box.append(row);
}
box.addEventListener("keydown", move);
/* What the server fills in makes no event here. */
for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, paint);
details.addEventListener("toggle", paint);
document.addEventListener("input", (event) => event.target === area() && details.open && paint());
