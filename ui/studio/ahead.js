/* What the run to come would reuse, or why it cannot be and what would help; nothing to say means nothing to see. */
const line = element.querySelector(".ahead");

function show() {
  const { text, over, suggestions, outline } = props.value || {};
  line.hidden = !text;
  line.classList.toggle("over", Boolean(over));
  line.querySelector("span").textContent = text || "";
  window.studio.suggestions(line, suggestions || [], props.words.suggestions, (detail) => trigger("suggestion", detail));
  if (outline) window.studio.setOutline(outline);
}

watch("value", show);
show();
