/*
 * The settings that a study varies, each with its values as they are typed.
 *   new studio.Axes(container, {words, names, stages, changed()})
 *     names: [[setting, label, sample, whether single stages may have it, how values are written]]
 *   set(list)    other axes in place of all: [[setting, text, stage or none]], the one across first
 *   add(name)    one more, returns its field; given() what is asked for; say(answers) what the server says of each
 * What was typed for a setting is there again when the setting is chosen again.
 */
(() => {
  const studio = (window.studio = window.studio || {});
  const { made } = window.dom;

  class Axis {
    constructor(name, { words, names, stages }, changed) {
      this.name = name;
      this.names = names;
      this.texts = {};
      this.node = made("fieldset", "lab-axis");
      this.legend = made("legend");
      this.place = made("span");
      this.legend.append(this.place);
      const row = made("div", "lab-axis-row");
      this.setting = made("select", "lab-axis-name");
      this.setting.setAttribute("aria-label", words.lab_setting);
      this.setting.append(...names.map(([value, label]) => new Option(label, value)));
      this.setting.value = name;
      this.stage = made("select", "lab-axis-stage");
      this.stage.setAttribute("aria-label", words.lab_stage);
      this.stage.append(new Option(words.lab_all_stages, ""), ...stages.map((px) => new Option(`${px} px`, px)));
      row.append(this.setting, this.stage);
      this.text = made("textarea", "lab-axis-text");
      this.text.rows = 2;
      this.text.spellcheck = false;
      this.text.setAttribute("aria-label", words.lab_values);
      this.count = made("p", "lab-axis-count");
      this.count.id = `lab-count-${Math.random().toString(36).slice(2)}`;
      this.text.setAttribute("aria-describedby", this.count.id);
      this.node.append(this.legend, row, this.text, this.count);
      this.setting.addEventListener("change", () => {
        this.name = this.setting.value;
        this.show();
        changed();
      });
      this.stage.addEventListener("change", changed);
      this.text.addEventListener("input", () => {
        this.texts[this.name] = this.text.value;
        changed();
      });
      this.show();
    }

    show() {
      const [, , sample, overridable] = this.about();
      this.stage.value = "";
      this.stage.disabled = !overridable;
      this.text.placeholder = sample;
      this.text.value = this.texts[this.name] || "";
      this.say({});
    }

    about() {
      return this.names.find(([one]) => one === this.name);
    }

    say({ count, error }) {
      this.count.textContent = error || count || this.about()[4];
      this.count.classList.toggle("error", Boolean(error));
      this.text.setAttribute("aria-invalid", String(Boolean(error)));
    }
  }

  studio.Axes = class {
    constructor(container, options) {
      this.container = container;
      this.options = options;
      this.axes = [];
    }

    get count() {
      return this.axes.length;
    }

    add(name) {
      const axis = new Axis(name, this.options, () => this.options.changed());
      if (this.axes.length) axis.legend.append(this.remover(axis));
      this.axes.push(axis);
      this.container.append(axis.node);
      this.arrange();
      return axis.text;
    }

    /* Other axes in place of all, the one across first: [[setting, text, stage or none]]. */
    set(list) {
      this.axes.forEach((axis) => axis.node.remove());
      this.axes = [];
      for (const [name, text, stage = ""] of list) {
        const field = this.add(name);
        this.axes.at(-1).stage.value = stage;
        field.value = text;
        field.dispatchEvent(new Event("input"));
      }
    }

    remover(axis) {
      const { words } = this.options;
      const button = made("button", "lab-axis-remove");
      button.type = "button";
      button.textContent = "×";
      button.title = words.lab_remove_axis;
      button.setAttribute("aria-label", words.lab_remove_axis);
      button.addEventListener("click", () => {
        this.axes = this.axes.filter((other) => other !== axis);
        axis.node.remove();
        this.arrange();
        this.axes[0].text.focus();
      });
      return button;
    }

    arrange() {
      const { words, changed } = this.options;
      this.axes.forEach((axis, index) => {
        axis.place.textContent = index ? words.lab_down : words.lab_across;
      });
      changed();
    }

    /* A study has the axis across as its last. */
    get downFirst() {
      return [...this.axes].reverse();
    }

    given() {
      return this.downFirst.map(({ name, stage, text }) => ({ name, stage: stage.value, text: text.value }));
    }

    say(answers) {
      this.downFirst.forEach((axis, index) => axis.say(answers[index] || {}));
    }
  };
})();
