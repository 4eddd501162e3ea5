/*
 * A blind comparison of the first two pictures: which is which is seen once one of them was voted for.
 *   new studio.CompareBlind(section, {words, order(refs), changed(), whenSeen(callback)})
 *     order: shows two stages in another order; changed: what may be seen is another;
 *     whenSeen: calls back once both pictures can be seen
 *   start(refs)     begins with two stages in random order; stop() ends
 *   active, hidden  whether it goes on, and whether the settings are still hidden
 *   paint(shown)    shown: what ui/compare/compare.py answers
 *   masked(items)   the cards without their names
 */
(() => {
  const studio = (window.studio = window.studio || {});
  const { made, save, set } = window.dom;
  const SHOWN = 6;

  studio.CompareBlind = class {
    constructor(section, acts) {
      this.acts = acts;
      this.section = section.querySelector(".cmp");
      this.find = window.dom.within(section);
      this.active = false;
      this.hidden = false;
      this.shown = null;
      this.before = null;
      this.find(".cmp-votes").addEventListener("click", ({ target }) => {
        if (target.dataset.choice) this.vote(Number(target.dataset.choice));
      });
      this.find(".cmp-again").addEventListener("click", () => this.start(this.shown.items.map((item) => item.ref)));
      this.find(".cmp-csv").addEventListener("click", () => this.save("csv", "text/csv"));
      this.find(".cmp-json").addEventListener("click", () => this.save("json", "application/json"));
      this.find(".cmp-clear").addEventListener("click", () => this.clear());
    }

    start(refs) {
      this.active = true;
      this.hidden = true;
      const [one, other] = refs;
      this.before = this.shown;
      // Nor may it be seen whether the two change places.
      this.section.classList.add("shuffling");
      this.acts.order(crypto.getRandomValues(new Uint8Array(1))[0] % 2 ? [other, one] : [one, other]);
      this.acts.changed();
    }

    stop() {
      this.active = this.hidden = false;
      this.before = null;
      this.section.classList.remove("shuffling");
      this.acts.changed();
    }

    vote(choice) {
      const { items, differ } = this.shown;
      studio.votes.add({
        time: new Date().toISOString(),
        choice,
        items: items.map(({ ref, settings }) => ({ ref, settings })),
        differ: differ.map(([label, values]) => [label, values]),
      });
      this.hidden = false;
      this.acts.changed();
      const { words } = this.acts;
      const said = choice < 0 ? words.blind_equal : `${"AB"[choice]} · ${items[choice].name}`;
      set(this.find(".cmp-voted"), words.blind_voted.replace("{vote}", said));
      this.find(".cmp-again").focus({ preventScroll: true });
    }

    masked(items) {
      if (!this.hidden) return items;
      const { words } = this.acts;
      const alt = (letter) => words.blind_image.replace("{letter}", letter);
      return items.map((item) => ({ ...item, name: "", card: { ...item.card, alt: alt(item.letter) } }));
    }

    paint(shown) {
      this.shown = shown;
      const ready = shown.items.length === 2;
      this.section.classList.toggle("blind", this.hidden && ready);
      this.find(".cmp-blind").hidden = !(this.active && ready);
      this.find(".cmp-votes").hidden = !this.hidden;
      this.find(".cmp-question").hidden = !this.hidden;
      this.find(".cmp-again").hidden = this.hidden;
      const voted = this.find(".cmp-voted");
      voted.hidden = this.hidden;
      if (this.hidden) set(voted, "");
      if (this.before && this.before !== shown) this.arrived();
      this.paintTally();
    }

    /* The two are there in their new order. */
    arrived() {
      this.before = null;
      this.find(".cmp-votes button").focus({ preventScroll: true });
      this.acts.whenSeen(() => this.section.classList.remove("shuffling"));
    }

    paintTally() {
      const { words } = this.acts;
      const groups = studio.votes.tally();
      const tally = this.find(".cmp-tally");
      tally.hidden = !groups.length || this.hidden;
      if (this.active) tally.open = true;
      set(tally.querySelector("summary"), words.blind_tally.replace("{count}", String(studio.votes.list().length)));
      const counted = (values, equal) =>
        [...values.map(([value, count]) => [value || "—", count]), [words.blind_equal, equal]].map(([value, count]) => {
          const line = made("div");
          line.append(made("dt", "", value), made("dd", "", String(count)));
          return line;
        });
      tally.querySelector("ul").replaceChildren(
        ...groups.slice(0, SHOWN).map(({ label, values, equal }) => {
          const item = made("li");
          const list = made("dl");
          list.append(...counted(values, equal));
          item.append(made("b", "", label || words.compare_nothing), list);
          return item;
        })
      );
      set(this.find(".cmp-clear"), words.blind_clear);
    }

    save(kind, type) {
      save(new Blob([studio.votes[kind]()], { type }), `gspn-votes.${kind}`);
    }

    /* What took an evening to collect does not go at one press. */
    clear() {
      const button = this.find(".cmp-clear");
      const { words } = this.acts;
      if (button.textContent !== studio.language.said(words.blind_clear)) {
        studio.votes.clear();
        this.paintTally();
        this.find(".cmp-blind-toggle").focus({ preventScroll: true });
      } else set(button, words.blind_clear_sure);
    }
  };
})();
