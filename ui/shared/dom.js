/* What every script does with elements. Loaded first; each name here stands in this file alone. */
window.dom = {
  /* Return a function that finds the first match of a selector in an element. */
  within: (element) => (selector) => element.querySelector(selector),

  /* Write a text where it is another one, so that a screen reader is not given the same news twice. */
  set(node, text) {
    const said = window.studio.language.saidIn(node, text);
    if (node.textContent !== said) node.textContent = said;
  },

  /* Write an attribute where it is another one; null, undefined and false remove it. */
  attribute(node, name, value) {
    if (value === null || value === undefined || value === false) node.removeAttribute(name);
    else {
      const said = window.studio.language.ofAttribute(node, name, String(value));
      if (node.getAttribute(name) !== said) node.setAttribute(name, said);
    }
  },

  /* Return a new element with a class and a text. */
  made(kind, name = "", text = "") {
    const node = document.createElement(kind);
    if (name) node.className = name;
    if (text) node.textContent = text;
    return node;
  },

  /* Return a new element of a drawing with attributes and a text. */
  svg(kind, values = {}, text = "") {
    const node = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
    if (text) node.textContent = text;
    return node;
  },

  /* Put a text on the clipboard; return whether that was allowed. Without https there is only the old way. */
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const held = document.activeElement;
      const area = document.createElement("textarea");
      area.value = text;
      area.style.cssText = "position:fixed;opacity:0";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      held?.focus();
      return done;
    }
  },

  /* Let the browser save bytes under a name. */
  save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  },

  /* Return seconds as 1:05, or 1:02:05 from an hour on. */
  clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const pad = (value) => String(value).padStart(2, "0");
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
    return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
  },

  /* Return a moment, in seconds since 1970, as day and time in the reader's language. */
  when(seconds) {
    const options = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
    return new Date(seconds * 1000).toLocaleString([], options);
  },
};
