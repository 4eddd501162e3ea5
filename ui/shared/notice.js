const line = element.querySelector(".notice");

function unmark() {
  document.querySelectorAll(".field.refused").forEach((field) => {
    field.classList.remove("refused");
    field.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
  });
}

function show() {
  const { text, tone, field, undo } = props.value || {};
  unmark();
  const hadFocus = line.contains(document.activeElement);
  line.hidden = !text;
  line.textContent = text || "";
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = props.words.undo;
    button.addEventListener("click", () => trigger("undo", undo));
    line.append(" ", button);
    /* The button that was pressed goes with its card. */
    const now = document.activeElement;
    if (now === document.body || now.closest(".suggestions")) button.focus();
  } else if (hadFocus) document.getElementById("run")?.focus();
  line.classList.toggle("error", tone === "error");
  const refused = field && document.getElementById(`field-${field}`);
  if (!refused) return;
  refused.classList.add("refused");
  // Where no word of the prompt is known, those that are can be chosen.
  const chips = document.querySelector(".vocabulary:not([open])");
  if (chips && field === "prompt" && tone === "error") chips.open = true;
  const fold = document.querySelector("#more button[aria-expanded='false'], #more .label-wrap:not(.open)");
  if (fold && refused.closest("#more")) fold.click();
  const input = refused.querySelector("textarea, input");
  if (input) {
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}

/* A refusal of a field is over once that field is changed, by typing, by its own buttons or by those next to it. */
function settle({ target }) {
  const { field, tone } = props.value || {};
  if (tone !== "error" || !field) return;
  const refused = document.getElementById(`field-${field}`);
  const row = refused?.closest("#seed-row") || refused;
  if (!row?.contains(target)) return;
  props.value = {};
  show();
}

const settings = document.getElementById("settings");
settings?.addEventListener("input", settle);
settings?.addEventListener("change", settle);
settings?.addEventListener("click", (event) => {
  if (event.target.closest("button")) settle(event);
});

watch("value", show);
show();
