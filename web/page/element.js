/** Elements of the page. Text becomes text, never markup. */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {...(Node | string)} children
 */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/**
 * An element that `index.html` holds.
 * @template {HTMLElement} E
 * @param {string} id
 * @param {new () => E} kind
 * @returns {E}
 */
export function find(id, kind) {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`index.html has no ${kind.name} #${id}`);
}

const TONES = 8;

/** The round mark of someone: first letter, and a colour of their name's. @param {string} name */
export function avatar(name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  const mark = element('span', `avatar tone-${hash % TONES}`, [...name][0]?.toUpperCase() ?? '?');
  mark.setAttribute('aria-hidden', 'true');
  return mark;
}
