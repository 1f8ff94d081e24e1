// Building and changing elements. Text only ever enters as text: names of jobs come from strangers.

export const byId = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

// Writes only what differs, so that a quiet tick costs nothing and a selection survives it.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setNumber(node, text) {
  if (node.dataset.shown === text) return;
  node.dataset.shown = text;
  const [value, ...unit] = text.split(" ");
  node.replaceChildren(value, el("small", {}, unit.length ? ` ${unit.join(" ")}` : ""));
}

// Keeps one element for each key, in the order of the items.
export function keyed(parent, items, keyOf, create, update) {
  const wanted = new Set(items.map(keyOf));
  for (const node of [...parent.children]) if (!wanted.has(node.dataset.key)) node.remove();
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  items.forEach((item, place) => {
    const key = keyOf(item);
    const node = old.get(key) ?? create();
    old.delete(key);
    node.dataset.key = key;
    update(node, item);
    if (parent.children[place] !== node) parent.insertBefore(node, parent.children[place] ?? null);
  });
  while (parent.children.length > items.length) parent.lastElementChild.remove(); // a key that came twice before
}

export function part(node, name) {
  return node.querySelector(`[data-part="${name}"]`);
}

export function setBar(fill, fraction) {
  fill.style.width = `${(100 * Math.min(1, Math.max(0, fraction || 0))).toFixed(1)}%`;
}
