"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const root = document.documentElement;

  // Everything below works with the page alone; what needs a script appears with it.
  for (const element of all("[data-controls]")) element.hidden = false;

  const themes = ["auto", "light", "dark"];
  const toggle = document.querySelector("[data-theme-toggle]");
  const stored = () => { try { return localStorage.getItem("zqc-theme"); } catch { return null; } };
  const show = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    toggle.textContent = theme[0].toUpperCase() + theme.slice(1);
    toggle.setAttribute("aria-label", `Colours: ${theme}`);
    toggle.dataset.now = theme;
  };
  toggle.hidden = false;
  show(themes.includes(stored()) ? stored() : "auto");
  toggle.addEventListener("click", () => {
    const next = themes[(themes.indexOf(toggle.dataset.now) + 1) % themes.length];
    show(next);
    try { localStorage.setItem("zqc-theme", next); } catch { /* a file may not store anything */ }
  });

  for (const button of all("[data-copy]")) {
    const code = button.parentElement.querySelector("code");
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }

  for (const table of all("[data-table]")) {
    const body = table.tBodies[0];
    all("thead th", table).forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const isNumber = head.classList.contains("number");
        const first = isNumber ? "descending" : "ascending";
        const other = isNumber ? "ascending" : "descending";
        const order = head.getAttribute("aria-sort") === first ? other : first;
        for (const each of all("thead th", table)) each.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", order);
        for (const button of all(`[data-of="${table.id}"]`)) button.setAttribute("aria-pressed", false);
        const sign = order === "ascending" ? 1 : -1;
        const key = (row) => {
          const cell = row.cells[column];
          return isNumber ? cell.dataset.key : cell.textContent.trim();
        };
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => {
          if (!isNumber) return sign * a.localeCompare(b, undefined, { numeric: true });
          if (a === "" || b === "") return (a === "") - (b === ""); // what is unknown stands last
          const [x, y] = [Number(a), Number(b)];
          return x === y ? 0 : sign * (x < y ? -1 : 1);
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  for (const button of all("[data-order]")) {
    button.addEventListener("click", () => {
      const table = document.getElementById(button.dataset.of);
      for (const each of all("thead th", table)) each.removeAttribute("aria-sort");
      for (const each of all(`[data-of="${table.id}"]`)) each.setAttribute("aria-pressed", each === button);
      const key = (row) => Number(row.dataset[button.dataset.order] || Infinity);
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => key(a) - key(b)));
    });
  }

  for (const input of all("[data-filter]")) {
    const table = document.getElementById(input.dataset.filter);
    const count = document.querySelector(`[data-count="${input.dataset.filter}"]`);
    const total = table.tBodies[0].rows.length;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = shown === total ? `${total} layers` : `${shown} of ${total} layers`;
    });
  }

  const pictures = document.querySelector("[data-pictures]");
  for (const button of all("[data-view]")) {
    button.addEventListener("click", () => {
      for (const each of all("[data-view]")) each.setAttribute("aria-pressed", each === button);
      pictures.classList.toggle("overlaid", button.dataset.view === "overlaid");
    });
  }
  for (const [name, style, on] of [["labels", "show-labels", true], ["tags", "no-tags", false]]) {
    const box = document.querySelector(`[data-${name}]`);
    box?.addEventListener("change", () => pictures.classList.toggle(style, box.checked === on));
  }
  for (const shape of all(".shape")) {
    const out = shape.closest("figure").querySelector("[data-readout]");
    const side = [...shape.classList].find((name) => ["float", "quantized", "label"].includes(name));
    const say = () => { out.textContent = `${side}: ${shape.getAttribute("aria-label")}`; };
    for (const event of ["pointerenter", "focus", "click"]) shape.addEventListener(event, say);
  }
})();
