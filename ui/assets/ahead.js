/* What the run to come would reuse; nothing to say means nothing to see. */
const line = element.querySelector(".ahead");

function show() {
  const text = props.value?.text || "";
  line.hidden = !text;
  line.textContent = text;
}

watch("value", show);
show();
