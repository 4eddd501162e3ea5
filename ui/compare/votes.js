/*
 * What a visitor voted for in blind comparisons, kept in the browser's own storage: studio.votes
 *   list()            [{time, choice, items: [{ref, settings}], differ: [[label, [value, value]]]}], oldest first;
 *                     choice: 0 or 1 for the better one, -1 for no difference
 *   add(vote), clear()
 *   tally()           per pair of settings {label, values: [[value, count]], equal, count}, the latest first
 *   json(), csv()     all of them as text
 */
window.studio.votes = (() => {
  const KEY = "gspn-studio-votes";
  const MOST = 500;
  let held = null;

  /* A browser may forbid storage, or hold what another page wrote; then votes last as long as the page. */
  function list() {
    if (held) return held;
    try {
      const found = JSON.parse(window.localStorage.getItem(KEY));
      held = Array.isArray(found) ? found.filter((vote) => vote?.items?.length === 2 && Array.isArray(vote.differ)) : [];
    } catch {
      held = [];
    }
    return held;
  }

  function keep(votes) {
    held = votes.slice(-MOST);
    try {
      window.localStorage.setItem(KEY, JSON.stringify(held));
    } catch {
      /* They are counted all the same. */
    }
  }

  function tally() {
    const groups = new Map();
    for (const { choice, differ } of list()) {
      const sides = [0, 1].map((side) => differ.map(([, values]) => values[side]).join(", "));
      const label = differ.map(([name]) => name).join(", ");
      const key = JSON.stringify([label, [...sides].sort()]);
      const group = groups.get(key) || { label, counts: new Map([...sides].sort().map((side) => [side, 0])), equal: 0, count: 0 };
      // The latest stands first.
      groups.delete(key);
      groups.set(key, group);
      group.count += 1;
      if (choice < 0) group.equal += 1;
      else group.counts.set(sides[choice], group.counts.get(sides[choice]) + 1);
    }
    return [...groups.values()]
      .reverse()
      .map(({ label, counts, equal, count }) => ({ label, values: [...counts], equal, count }));
  }

  /* A cell that a spreadsheet takes for a formula is quoted as a text. */
  function cell(value) {
    const text = value === null || value === undefined ? "" : String(value);
    const plain = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  }

  function csv() {
    const votes = list();
    const names = [...new Set(votes.flatMap(({ items }) => items.flatMap(({ settings }) => Object.keys(settings))))];
    const head = ["time", "preferred", "a", "b", ...names.flatMap((name) => [`a.${name}`, `b.${name}`])];
    const rows = votes.map(({ time, choice, items: [a, b] }) => [
      time,
      choice < 0 ? "none" : "ab"[choice],
      a.ref,
      b.ref,
      ...names.flatMap((name) => [a.settings[name], b.settings[name]]),
    ]);
    return [head, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
  }

  return {
    list,
    add: (vote) => keep([...list(), vote]),
    clear: () => keep([]),
    tally,
    csv,
    json: () => JSON.stringify(list(), null, 1),
  };
})();
