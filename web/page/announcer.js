/** What a screen reader says of what others see, in places of its own that nobody sees. */
import { element, find } from './element.js';

/** At most one message is said in this time, in milliseconds: who hears it does not hear the people meanwhile. */
const PAUSE_MS = 5000;

/** As much of a message is said, in characters: all of it is in the chat. */
const SAID_MAX = 160;

/** While the settings are open, nothing outside them is said. */
const PLACES = /** @type {const} */ (['announcement', 'settings-announcement']);

/** @param {string} text */
export function announce(text) {
  const place = PLACES[Number(find('settings', HTMLDialogElement).open)];
  // Of what is written twice, only another element is news.
  find(place, HTMLParagraphElement).replaceChildren(element('span', '', text));
}

/** What was said is over: who goes through the page is not to come upon it. */
export function forgetAnnouncements() {
  for (const place of PLACES) find(place, HTMLParagraphElement).replaceChildren();
}

/**
 * Says what is written while the chat is closed: the first message at once, those that follow closely by their number and the last
 * of them.
 * @param {(text: string) => void} say
 */
export function unheardMessages(say) {
  let count = 0;
  let last = '';
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let pause;
  const next = () => {
    pause = undefined;
    if (count === 0) return;
    say(count === 1 ? last : `${count} new messages. ${last}`);
    count = 0;
    pause = setTimeout(next, PAUSE_MS);
  };
  return {
    came(/** @type {string} */ name, /** @type {string} */ text) {
      count++;
      last = `${name}: ${text.length > SAID_MAX ? `${text.slice(0, SAID_MAX)}…` : text}`;
      if (pause === undefined) next();
    },
    /** The chat is open. */
    seen: () => void (count = 0),
  };
}
