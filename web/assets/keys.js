// The keyboard.

/** Which way the arrow keys go: columns and rows. */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Listens to keys.
 * @param page {{wall, search, help, back, open, unfold, pin, nextProbe, nextReference, table}} what they do
 */
export function listenToKeys(page) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
      return;
    }
    if (event.key === "Escape") {
      page.back();
      return;
    }
    if (event.target.closest("input, select, textarea")) {
      return;
    }
    if (act(page, event)) {
      event.preventDefault();
    }
  });
}

/** Says whether the key meant something. */
function act(page, event) {
  switch (event.key) {
    case "/":
      page.search();
      return true;
    case "?":
      page.help();
      return true;
    case "r":
      page.nextReference();
      return true;
    default:
      return page.onWall(event.target) && actOnWall(page, event.key);
  }
}

function actOnWall(page, key) {
  if (key in ARROWS) {
    page.wall.move(...ARROWS[key]);
    return true;
  }
  const actions = {
    PageUp: () => page.wall.moveBlock(-1),
    PageDown: () => page.wall.moveBlock(1),
    Enter: page.open,
    u: page.unfold,
    p: page.pin,
    s: page.nextProbe,
    t: page.table,
  };
  actions[key]?.();
  return key in actions;
}
