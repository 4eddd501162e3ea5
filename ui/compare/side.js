/*
 * What stands next to the pictures of a comparison: which they are, how alike they are, what differs, what can be added.
 *   new studio.CompareSide(section, {words, remove(index), add(ref)})
 *   paint({items, differ, facts, same}, pair)   as ui/compare/compare.py describes them; pair: null while measured
 *   paintAdd(refs)                              the stages of the run at hand; those of refs are there already
 */
(() => {
  const studio = (window.studio = window.studio || {});
  const { made, set, when } = window.dom;
  const MOST = 4;

  function header(text, scope) {
    const node = made("th", "", text);
    node.scope = scope;
    return node;
  }

  /* A prompt may be long; it is scrolled where it stands. */
  function valueCell(text) {
    const node = made("td");
    node.append(made("div", "", text));
    return node;
  }

  function row(label, values) {
    const node = made("tr");
    node.append(header(label, "row"), ...values.map(valueCell));
    return node;
  }

  function term(label, value) {
    const node = made("div");
    node.append(made("dt", "", label), made("dd", "", value));
    return node;
  }

  studio.CompareSide = class {
    constructor(section, acts) {
      this.acts = acts;
      this.find = window.dom.within(section);
    }

    paint(shown, pair) {
      this.paintItems(shown.items);
      this.paintTables(shown);
      this.paintFigures(shown.items, pair);
    }

    /* Draws a list again; the focus stays on the button at its place, or goes to the one that adds. */
    redraw(list, nodes) {
      const held = list.contains(document.activeElement) ? document.activeElement : null;
      const alike = () => [...list.querySelectorAll("button")].filter((one) => one.className === held.className);
      const at = held ? alike().indexOf(held) : -1;
      list.replaceChildren(...nodes);
      if (!held) return;
      const left = alike().filter((one) => !one.disabled && !one.hidden);
      const next = left[Math.min(at, left.length - 1)] || this.find(".cmp-add summary");
      next.focus({ preventScroll: true });
    }

    paintItems(items) {
      this.redraw(
        this.find(".cmp-items"),
        items.map((item, index) => this.item(item, index))
      );
      this.find(".cmp-add").hidden = items.length >= MOST;
    }

    item(item, index) {
      const { words, remove } = this.acts;
      const node = made("li");
      node.innerHTML =
        '<b class="cmp-letter"></b><span class="cmp-thumb"><img alt="" draggable="false"></span>' +
        '<span class="cmp-text"><b></b><span class="cmp-prompt"></span><time></time></span>' +
        '<button type="button" class="cmp-open"></button><button type="button" class="cmp-remove">×</button>';
      const find = window.dom.within(node);
      set(find(".cmp-letter"), item.letter);
      find("img").src = item.card.proxy;
      set(find(".cmp-text b"), item.title);
      set(find(".cmp-prompt"), item.prompt);
      set(find("time"), when(item.created));
      set(find(".cmp-open"), words.compare_open);
      find(".cmp-open").addEventListener("click", () => studio.act && studio.act("open", { job: item.job }));
      find(".cmp-open").hidden = !studio.act;
      const leave = find(".cmp-remove");
      leave.title = words.compare_remove;
      leave.setAttribute("aria-label", `${words.compare_remove} ${item.letter}`);
      leave.addEventListener("click", () => remove(index));
      return node;
    }

    paintTables({ items, differ, facts, same }) {
      const { words } = this.acts;
      const few = items.length < 2;
      const table = this.find(".cmp-table");
      table.hidden = few;
      const head = made("tr");
      head.append(...[words.compare_setting, ...items.map((item) => item.letter)].map((text) => header(text, "col")));
      table.tHead.replaceChildren(head);
      table.tBodies[0].replaceChildren(...[...differ, ...facts].map(([label, values]) => row(label, values)));
      this.find(".cmp-scroll").tabIndex = few ? -1 : 0;
      const title = this.find(".cmp-differ-title");
      title.hidden = few;
      set(title, differ.length ? words.compare_differ : words.compare_nothing);
      const alike = this.find(".cmp-same");
      alike.hidden = few || !same.length;
      alike.querySelector("dl").replaceChildren(...same.map(([label, value]) => term(label, value)));
    }

    paintFigures(items, pair) {
      const { words } = this.acts;
      const few = items.length < 2;
      const list = this.find(".cmp-figures");
      const figure = (name) => (pair ? pair[name] || "—" : words.compare_measuring);
      list.hidden = few;
      list.replaceChildren(term(words.compare_psnr, figure("psnr")), term(words.compare_ssim, figure("ssim")));
      const note = few ? items.length && words.compare_one : pair && (pair.error || pair.note);
      set(this.find(".cmp-note"), note || "");
    }

    paintAdd(refs) {
      const done = studio.compareStages();
      this.redraw(
        this.find(".cmp-stages"),
        done.map(({ ref, title }) => {
          const node = made("button", "", title);
          node.type = "button";
          node.disabled = refs.includes(ref);
          node.addEventListener("click", () => this.acts.add(ref));
          return node;
        })
      );
      this.find(".cmp-last-two").disabled = done.length < 2;
    }
  };

  /* The finished stages of the run at hand: {ref, title}, the smallest first. */
  studio.compareStages = () => {
    const run = studio.run;
    const done = run ? run.stages.filter((one) => one.done) : [];
    return done.map((one) => ({ ref: `${run.job}.${one.index}`, title: one.title }));
  };
})();
