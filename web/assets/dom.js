// Making elements. Text is only ever set as text, so nothing that comes from a configuration can
// become markup.

/**
 * Makes an element: h("td", {class: "n"}, "text", otherElement).
 * A property that begins with "on" is a listener, one that is false, null or undefined is left out.
 */
export function h(name, properties = {}, ...children) {
  return furnish(document.createElement(name), properties, children);
}

function furnish(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) {
      continue;
    }
    if (key.startsWith("on")) {
      element.addEventListener(key.slice(2), value);
    } else {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

/** Sets the text of an element if it is another one: what does not change is not laid out again. */
export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

/** Replaces all children. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
}

/** Replaces all children while the keyboard stays where it is: on the one with the same text. */
export function refill(element, ...children) {
  const had = element.contains(document.activeElement) && document.activeElement !== element ? document.activeElement : null;
  fill(element, ...children);
  if (had && !had.isConnected) {
    [...element.querySelectorAll(had.localName)].find((e) => e.textContent === had.textContent)?.focus({ preventScroll: true });
  }
}

/** The element of an id, which must be there. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) {
    throw new Error(`page: no element #${id}`);
  }
  return element;
}

/** A table of rows; the first row is the head, the first cell of each row names it. */
export function table(properties, head, rows) {
  return h("table", properties,
    h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, i) =>
      h(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : {}, cell))))));
}
