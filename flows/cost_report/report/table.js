// Sorting and copying. Without it the tables are complete and readable, only not sortable.
"use strict";
(() => {
  const said = document.getElementById("said");

  // What a cell compares and copies as: the exact figure where it has one, its whole text where it does not.
  const value = (cell) => (cell.dataset.v !== undefined ? cell.dataset.v : words(cell));
  const words = (cell) => cell.innerText.replace(/\s+/g, " ").trim();
  const isNumber = (text) => /^-?\d+(\.\d+)?(e-?\d+)?$/.test(text);

  const compare = (a, b) => {
    if (isNumber(a) && isNumber(b)) return Number(a) - Number(b);
    if (isNumber(a) !== isNumber(b)) return isNumber(a) ? -1 : 1;
    return a.localeCompare(b, "en", { numeric: true });
  };

  const sort = (table, column, header) => {
    const down = header.getAttribute("aria-sort") === "descending" ||
      (!header.hasAttribute("aria-sort") && !header.classList.contains("n"));
    const direction = down ? "ascending" : "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction);
    const body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => !row.classList.contains("sum"));
    const sums = [...body.rows].filter((row) => row.classList.contains("sum"));
    const keys = new Map(rows.map((row) => [row, value(row.cells[column])]));
    rows.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what has no value stays last
      return down ? compare(x, y) : compare(y, x);
    });
    body.append(...rows, ...sums);
    said.textContent = `Sorted by ${header.innerText.trim()}, ${direction}`;
  };

  // A spreadsheet runs a pasted cell that starts like a formula; an apostrophe keeps it text. Figures are left alone.
  const safe = (text) => {
    const guarded = !isNumber(text) && /^\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20|%]/.test(text) ? "'" + text : text;
    return guarded.includes('"') ? `"${guarded.replace(/"/g, '""')}"` : guarded;
  };
  const full = (cell) => {
    if (cell.dataset.v !== undefined) return cell.dataset.v;
    const named = [...cell.children].filter((part) => part.classList.contains("t"));
    if (!named.length) return words(cell);
    return named.map((part) => part.title || part.textContent).join(" ").replace(/\s+/g, " ").trim();
  };
  const tsv = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const keep = heads.map((head) => head.tagName === "TH" && !head.classList.contains("plain"));
    return [...table.rows]
      .map((row) => [...row.cells].filter((_, i) => keep[i]).map((cell) => safe(full(cell))).join("\t"))
      .join("\n");
  };

  const copy = async (text) => {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea"); // plain http has no clipboard API
    area.className = "sr";
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("copying was refused");
  };

  for (const table of document.querySelectorAll("table")) {
    const box = table.closest(".table");
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      if (header.tagName !== "TH" || header.classList.contains("plain") || table.tBodies[0].rows.length < 2) return;
      const button = document.createElement("span"); // a real button vanishes where print repeats the heading
      button.className = "sort";
      button.setAttribute("role", "button");
      button.tabIndex = 0;
      button.append(...header.childNodes);
      button.addEventListener("click", () => sort(table, column, header));
      button.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault(); // space would scroll
        sort(table, column, header);
      });
      header.append(button);
    });
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${box.querySelector(".h3").textContent} as a table`);
    button.addEventListener("click", async () => {
      try {
        await copy(tsv(table));
        button.textContent = "Copied";
        said.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed here";
        said.textContent = "Copying is not allowed here; select the table instead";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    box.querySelector(".bar-head").append(button);
  }
})();
