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
    if (now === document.body || now.closest(".remedies")) button.focus();
  } else if (hadFocus) document.getElementById("run")?.focus();
  line.classList.toggle("error", tone === "error");
  const refused = field && document.getElementById(`field-${field}`);
  if (!refused) return;
  refused.classList.add("refused");
  const fold = document.querySelector("#more button[aria-expanded='false'], #more .label-wrap:not(.open)");
  if (fold && refused.closest("#more")) fold.click();
  const input = refused.querySelector("textarea, input");
  if (input) {
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }
}

document.getElementById("settings")?.addEventListener("input", (event) => {
  if (event.target.closest(".field.refused")) unmark();
});

watch("value", show);
show();
