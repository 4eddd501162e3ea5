/*
 * The grid of a study, a button for every cell: one stop of the Tab key for all, the arrow keys between them.
 *   new studio.Cells(table, {words, press(number), enlarge(number), choices(cell)})
 *   paint(study, {metric, picked, best})     draws a study as ui/lab/lab.py describes it
 *   next(number, key)                        the number of the cell that an arrow key leads to, or null
 */
(() => {
  const studio = (window.studio = window.studio || {});
  const { set } = window.dom;

  studio.Cells = class {
    constructor(table, acts) {
      this.table = table;
      this.acts = acts;
      this.study = null;
      this.shape = "";
      this.nodes = [];
      // What was removed since is not asked for again.
      this.gone = new Set();
      table.addEventListener("keydown", (event) => this.key(event));
      table.addEventListener("focusin", (event) => this.stop(this.numberOf(event.target)));
    }

    numberOf(target) {
      return this.nodes.indexOf(target.closest("td"));
    }

    /* Makes a cell the one that the Tab key stops at. */
    stop(number) {
      if (number < 0) return;
      this.nodes.forEach((node, at) => {
        for (const button of node.children) button.tabIndex = at === number ? 0 : -1;
      });
    }

    next(number, key) {
      const [wide, count] = [this.study.columns.length, this.study.cells.length];
      const column = number % wide;
      const to = {
        ArrowLeft: column ? number - 1 : -1,
        ArrowRight: column < wide - 1 ? number + 1 : -1,
        ArrowUp: number - wide,
        ArrowDown: number + wide,
        Home: number - column,
        End: number - column + wide - 1,
      }[key];
      return to >= 0 && to < count ? to : null;
    }

    key(event) {
      const number = this.numberOf(event.target);
      if (number < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
      const cell = event.target.matches(".lab-cell");
      if (event.key === "Enter" && cell) this.acts.enlarge(number);
      else if (this.next(number, event.key) !== null) this.focus(this.next(number, event.key));
      else if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
    }

    focus(number) {
      this.nodes[number].querySelector(".lab-cell").focus();
    }

    paint(study, { metric, picked, best }) {
      this.study = study;
      const shape = `${study.id} ${study.rows.length} ${study.columns.length}`;
      if (this.shape !== shape) this.build(shape);
      study.cells.forEach((cell, number) => this.paintCell(this.nodes[number], cell, metric, picked, best));
    }

    build(shape) {
      const { study, table } = this;
      this.shape = shape;
      const sided = Boolean(study.down);
      const head = document.createElement("tr");
      if (sided) head.append(this.head("td", `${study.down} ↓ · ${study.across} →`));
      head.append(...study.columns.map((text) => this.head("col", text)));
      table.tHead.replaceChildren(head);
      this.nodes = [];
      table.tBodies[0].replaceChildren(
        ...study.rows.map((text) => {
          const line = document.createElement("tr");
          if (sided) line.append(this.head("row", text));
          line.append(...study.columns.map(() => this.buildCell()));
          return line;
        })
      );
      this.stop(0);
    }

    /* A head holds as much of a long prompt as a cell is wide; the rest shows when it is pointed at. */
    head(scope, text) {
      const made = document.createElement(scope === "td" ? "td" : "th");
      if (scope === "td") made.className = "lab-corner";
      else made.scope = scope;
      const inner = document.createElement("span");
      inner.textContent = text;
      inner.title = text.length > 40 ? text : "";
      made.append(inner);
      return made;
    }

    buildCell() {
      const number = this.nodes.length;
      const { words } = this.acts;
      const made = document.createElement("td");
      made.innerHTML =
        '<button type="button" class="lab-cell"><span class="lab-thumb"><img alt="" draggable="false" hidden></span>' +
        '<span class="lab-word"></span><span class="lab-figure"></span><span class="lab-meter"><i></i></span></button>' +
        '<button type="button" class="lab-cell-more" aria-haspopup="menu">⋯</button>';
      const [cell, more] = made.children;
      const image = made.querySelector("img");
      cell.addEventListener("click", () => this.study.cells[number].ref && this.acts.press(number));
      cell.addEventListener("dblclick", () => this.acts.enlarge(number));
      more.addEventListener("click", () => studio.menu(more, this.acts.choices(this.study.cells[number])));
      image.addEventListener("error", () => {
        this.gone.add(image.getAttribute("src"));
        image.hidden = true;
        set(made.querySelector(".lab-word"), words.lab_gone);
      });
      this.nodes.push(made);
      return made;
    }

    paintCell(node, cell, metric, picked, best) {
      const { words } = this.acts;
      const [press, more] = node.children;
      const image = node.querySelector("img");
      const [value, text] = cell.figures[metric];
      const gone = this.gone.has(cell.thumb);
      const done = cell.state === "done";
      node.className = cell.state;
      node.classList.toggle("best", value !== null && value === best);
      image.hidden = !cell.thumb || gone;
      if (!image.hidden && image.getAttribute("src") !== cell.thumb) image.src = cell.thumb;
      const shown = !image.hidden && (done || cell.state === "running");
      set(node.querySelector(".lab-word"), gone && done ? words.lab_gone : shown ? "" : cell.word);
      set(node.querySelector(".lab-figure"), done ? text : "");
      node.querySelector(".lab-meter i").style.transform = `scaleX(${cell.state === "running" ? cell.progress : 0})`;
      press.title = cell.ref ? words.lab_cell_title : "";
      press.setAttribute("aria-disabled", String(!cell.ref));
      press.setAttribute("aria-pressed", String(picked.has(cell.number)));
      press.setAttribute("aria-label", `${cell.label}: ${cell.word}${done ? `, ${text}` : ""}`);
      more.setAttribute("aria-label", `${words.lab_cell_more}: ${cell.label}`);
      more.hidden = !this.acts.choices(cell).length;
    }
  };
})();
