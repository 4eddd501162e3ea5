/*
 * The page in another language than English. English sentences are the keys of a catalogue, as in gettext; what
 * stands on the page is looked up there wherever it comes from: templates, scripts, the server, gradio.
 *
 *   studio.language.code            "en", or the code of a catalogue
 *   studio.language.start(offered)  offered: the addresses of each catalogue's scripts, by code
 *   studio.language.choose(code)    keep another language and load the page in it
 *   studio.language.said(text)      a text in that language; as it is where the catalogue has none
 *   studio.language.saidIn(element, text), ofAttribute(element, name, value)   the same for what an element is given
 *   studio.language.add(code, entries)
 *
 * In a key {#} stands for a figure, {w} for a figure or another entry or several of them, {*} for anything, which
 * stays as it is; in its translation {1}, {2} ... stand for them in their order.
 */
window.studio.language = (() => {
  const KEY = "gspn-studio-language";
  const ATTRIBUTES = ["aria-label", "title", "placeholder", "alt"];
  /* What a visitor has written, and the words of a prompt. */
  const OWN = "[translate=no], textarea, .run-prompt, .examples, .vocabulary button, script, style";
  const UNIT = "(?:px|GB|MB|kB|KiB|ms|min|dB|s|h)(?![A-Za-z])";
  const FIGURE = `(?:[^A-Za-z{}]|(?<![A-Za-z])${UNIT})+?`;
  const WHOLE_FIGURE = new RegExp(`^${FIGURE}$`);
  const GROUPS = { "{#}": `(${FIGURE})`, "{w}": "(.+?)", "{*}": "(.*?)" };
  const MOST_KEPT = 5000;

  const exact = new Map();
  const shapes = [];
  const kept = new Map();
  let code = "en";

  function add(of, entries) {
    if (of !== code) return;
    for (const [english, translation] of Object.entries(entries)) {
      const kinds = english.match(/\{[#w*]\}/g);
      if (!kinds) {
        exact.set(english, translation);
        continue;
      }
      const parts = english.split(/(\{[#w*]\})/).map((part) => GROUPS[part] || part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
      /* Of two that fit, the one that says more itself comes first. */
      const literal = english.length - 3 * kinds.length;
      shapes.push({ pattern: new RegExp(`^${parts.join("")}$`), kinds, translation, literal });
    }
    shapes.sort((one, other) => other.literal - one.literal);
    kept.clear();
    translateAll(document.documentElement);
  }

  /* A text's translation, null where the catalogue has none. */
  function known(text) {
    if (exact.has(text)) return exact.get(text);
    if (WHOLE_FIGURE.test(text)) return text;
    for (const { pattern, kinds, translation } of shapes) {
      const found = pattern.exec(text);
      if (!found) continue;
      const values = kinds.map((kind, at) => (kind === "{w}" ? known(found[at + 1]) : found[at + 1]));
      if (values.includes(null)) continue;
      return translation.replace(/\{(\d)\}/g, (_, at) => values[at - 1]);
    }
    for (const [mark, instead] of [[/(?<=[.?!]) (?=[A-Z\d])/, ""], [" · ", " · "], [" × ", " × "], [", ", "，"], [" and ", " 和 "]]) {
      const parts = text.split(mark);
      if (parts.length < 2) continue;
      const values = parts.map(known);
      if (!values.includes(null)) return values.join(instead);
      if (mark === " · " && values.some((value) => value !== null)) return values.map((value, at) => value ?? parts[at]).join(mark);
    }
    return null;
  }

  function saidLine(line) {
    const inner = line.trim();
    const found = inner && inner.length < 1000 ? known(inner) : null;
    return found === null ? line : line.replace(inner, () => found);
  }

  function said(text) {
    if (code === "en" || typeof text !== "string" || !/[A-Za-z]/.test(text)) return text;
    if (!kept.has(text)) {
      if (kept.size > MOST_KEPT) kept.clear();
      kept.set(text, text.split("\n").map(saidLine).join("\n"));
    }
    return kept.get(text);
  }

  /* What an element says in place of a text: the words of visitors stay as they are. */
  const saidIn = (element, text) => (code === "en" || !element || element.closest(OWN) ? text : said(text));
  const ofAttribute = (element, name, value) => (ATTRIBUTES.includes(name) ? saidIn(name === "title" ? element : element.parentElement, value) : value);

  function translateText(node) {
    const text = saidIn(node.parentElement, node.data);
    if (text !== node.data) node.data = text;
  }

  function translateAttributes(node) {
    for (const name of ATTRIBUTES) {
      const value = node.getAttribute(name);
      if (value === null) continue;
      const text = ofAttribute(node, name, value);
      if (text !== value) node.setAttribute(name, text);
    }
  }

  function translateAll(root) {
    if (root.nodeType === Node.TEXT_NODE) return translateText(root);
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node = root; node; node = walker.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) translateText(node);
      else translateAttributes(node);
    }
  }

  function watch() {
    const changed = (records) => {
      for (const { type, target, addedNodes } of records) {
        if (type === "childList") addedNodes.forEach(translateAll);
        else if (type === "characterData") translateText(target);
        else translateAttributes(target);
      }
    };
    const what = { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES };
    new MutationObserver(changed).observe(document.documentElement, what);
  }

  /* The one that the address asks for, that was chosen before, or the first of the browser's that there is. */
  function wanted(offered) {
    const asked = new URLSearchParams(window.location.search).get("lang");
    const languages = [asked, localStorage.getItem(KEY), ...navigator.languages].filter(Boolean);
    return languages.map((one) => one.toLowerCase().split("-")[0]).find((one) => one === "en" || one in offered) || "en";
  }

  function start(offered) {
    code = wanted(offered);
    const asked = new URLSearchParams(window.location.search).get("lang");
    if (asked?.toLowerCase().split("-")[0] === code) localStorage.setItem(KEY, code);
    document.documentElement.lang = code === "zh" ? "zh-CN" : code;
    if (code === "en") return;
    watch();
    for (const address of offered[code]) {
      const script = document.createElement("script");
      script.src = address;
      document.head.append(script);
    }
  }

  function choose(next) {
    localStorage.setItem(KEY, next);
    const address = new URL(window.location.href);
    address.searchParams.delete("lang");
    if (address.href === window.location.href) window.location.reload();
    else window.location.replace(address);
  }

  return { start, choose, said, saidIn, ofAttribute, add, get code() { return code; } };
})();
