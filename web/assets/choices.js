// The choices that have no room in the header: a button shows them, and hides them again.

import { byId } from "./dom.js";

/** Connects the button with what it shows, which gets the keyboard. Escape, and a click elsewhere, hide it. */
export function makeChoices() {
  const choices = byId("choices");
  const button = byId("choices-button");
  const show = (open) => {
    choices.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  const selects = [...choices.querySelectorAll("select")];
  button.addEventListener("click", () => {
    const hidden = selects.find((e) => e.offsetParent === null);
    show(!choices.classList.contains("open"));
    hidden?.focus({ preventScroll: true });
  });
  byId("controls").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && choices.classList.contains("open")) {
      event.stopPropagation(); // it is not a step back of the page
      show(false);
      button.focus();
    }
  });
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("#choices, #choices-button")) {
      show(false);
    }
  });
}
