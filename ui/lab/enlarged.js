/*
 * One picture of many in full; the place stays from one to the next, so that the same spot is compared.
 *   new studio.Large(dialog, {ask(number), tell(number), next(number, key), left(number)})
 *     ask: get its card, which `take` is given; tell: its name and figure; left: it was closed at that one
 */
(() => {
  const studio = (window.studio = window.studio || {});

  studio.Large = class {
    constructor(dialog, acts) {
      const find = (name) => dialog.querySelector(`.lab-large-${name}`);
      this.dialog = dialog;
      this.acts = acts;
      this.find = find;
      this.viewer = null;
      this.number = null;
      for (const name of ["before", "after"])
        find(name).addEventListener("click", () => this.turn(acts.next(this.number, name)));
      find("full").addEventListener("click", () => this.viewer.deep.toggle());
      find("close").addEventListener("click", () => dialog.close());
      dialog.addEventListener("close", () => {
        this.viewer.deep.show(null);
        acts.left(this.number);
      });
      // Before the viewer, whose own arrow keys move the picture.
      dialog.addEventListener("keydown", (event) => this.key(event), { capture: true });
    }

    open(number) {
      this.number = number;
      const [name, figure] = this.acts.tell(number);
      this.find("name").textContent = name;
      this.find("figure").textContent = figure;
      for (const side of ["before", "after"]) this.find(side).disabled = this.acts.next(number, side) === null;
      if (!this.dialog.open) this.dialog.showModal();
      // A button that is switched off while it has the focus would take the keys away with it.
      if (document.activeElement.disabled) this.dialog.focus();
      this.viewer = this.viewer || studio.viewer(this.find("canvas"));
      this.acts.ask(number);
    }

    turn(number) {
      if (number !== null) this.open(number);
    }

    take({ card, error }, isIt) {
      if (!this.dialog.open || !isIt(this.number)) return;
      if (card) this.viewer.deep.show(card);
      else this.find("figure").textContent = error;
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key.startsWith("Arrow")) {
        this.turn(this.acts.next(this.number, event.key));
        event.preventDefault();
        event.stopPropagation();
      } else if (!event.target.closest(".openseadragon-canvas")) this.viewer.deep.key(event);
    }
  };
})();
