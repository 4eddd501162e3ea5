const line = element.querySelector(".notice");

function unmark() {
  document.querySelectorAll(".field.refused").forEach((field) => {
    field.classList.remove("refused");
    field.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
  });
}

function show() {
  const { text, tone, field } = props.value || {};
  unmark();
  line.hidden = !text;
  line.textContent = text || "";
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
