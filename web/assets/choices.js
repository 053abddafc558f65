// The choices that have no room in the header: a button shows them, and hides them again.

import { byId } from "./dom.js";

const WITHIN = "#choices, #choices-button";

/** Connects the button with what it shows, which gets the keyboard. Escape, and whatever is done elsewhere, hide it. */
export function makeChoices() {
  const choices = byId("choices");
  const button = byId("choices-button");
  const onKey = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation(); // it is not a step back of the page
      show(false);
      button.focus();
    }
  };
  const show = (open) => {
    choices.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
    // Wherever the keyboard is: a click beside the selects leaves it nowhere.
    document[open ? "addEventListener" : "removeEventListener"]("keydown", onKey, true);
  };
  const selects = [...choices.querySelectorAll("select")];
  button.addEventListener("click", () => {
    const hidden = selects.find((e) => e.offsetParent === null);
    show(!choices.classList.contains("open"));
    hidden?.focus({ preventScroll: true });
  });
  byId("controls").addEventListener("focusout", ({ relatedTarget: to }) => {
    if (to && !to.closest(WITHIN)) { // to nothing it goes when another window gets it
      show(false);
    }
  });
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(WITHIN)) {
      show(false);
    }
  });
}
