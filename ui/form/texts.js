/* Tokens of the prompts and hints about them. The part next to Run brings them with the run to come. */
const { made, set } = window.dom;
const counts = element.querySelector(".counts");
const hints = element.querySelector(".hints");

function lines(list, entries) {
  list.hidden = !entries.length;
  while (list.children.length > entries.length) list.lastChild.remove();
  entries.forEach(({ text, cut }, index) => {
    const line = list.children[index] || list.appendChild(made("li"));
    set(line, text);
    line.classList.toggle("cut", Boolean(cut));
  });
}

function show() {
  const { counts: counted, notices } = window.studio.texts;
  lines(counts, counted.map(({ name, text, cut }) => ({ text: name ? `${name}: ${text}` : text, cut })));
  lines(hints, notices.map((text) => ({ text })));
}

window.addEventListener("studio:texts", show);
show();
