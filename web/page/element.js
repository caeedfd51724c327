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

/** Text of people, in the direction of its own letters. @template {keyof HTMLElementTagNameMap} K @param {K} tag @param {string} className @param {string} text */
export function words(tag, className, text) {
  const made = element(tag, className, text);
  made.dir = 'auto';
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

/** Changes the text of an element, if it is another: what is written again, screen readers say again. @param {HTMLElement} within @param {string} text */
export function setText(within, text) {
  if (within.textContent !== text) within.textContent = text;
}

const SVG = 'http://www.w3.org/2000/svg';

/** A sign that `index.html` holds as `<symbol id="icon-…">`. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Changes the sign that an element has. @param {Element} within @param {string} name */
export function useIcon(within, name) {
  within.querySelector('use')?.setAttribute('href', `#icon-${name}`);
}

/** A button that is no submit button. @param {string} className @param {...(Node | string)} children */
export function button(className, ...children) {
  const made = element('button', className, ...children);
  made.type = 'button';
  return made;
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
