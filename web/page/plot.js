/** A small plot of figures over the last minutes, drawn as SVG. */
import { element } from './element.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 300;
const HEIGHT = 64;
/** Air above the highest figure, so that the line is not cut. */
const HEADROOM = 1.15;

/** @typedef {(number | null)[]} Series one figure per second, the newest last; `null`: not known then */

/**
 * @typedef {object} Kind
 * @property {string} title
 * @property {string[]} lines what each line is; one line needs no legend
 * @property {(value: number) => string} format
 * @property {number} least the top of the plot at least, so that noise around nothing looks like nothing
 */

export class Plot {
  #kind;
  #seconds;
  #now = element('span', 'now');
  #top = element('span', 'top');
  #svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
  /** @type {{ area: SVGElement, line: SVGElement }[]} */
  #shapes;

  /** @param {Kind} kind @param {number} seconds that fit */
  constructor(kind, seconds) {
    this.#kind = kind;
    this.#seconds = seconds;
    this.#shapes = kind.lines.map((_, at) => ({ area: shape('path', { class: `area line-${at}` }), line: shape('path', { class: `stroke line-${at}` }) }));
    this.#svg.append(...this.#shapes.flatMap(({ area, line }) => [area, line]));
    const legend = kind.lines.length < 2 ? [] : [element('span', 'legend', ...kind.lines.map((line, at) => element('span', `key line-${at}`, line)))];
    this.node = element('figure', 'plot', element('figcaption', '', element('span', 'title', kind.title), ...legend, this.#now), element('div', 'graph', this.#svg, this.#top));
    this.node.dataset.testid = 'plot';
  }

  /** @param {Series[]} series one per line */
  draw(series) {
    const known = series.flat().filter((value) => value !== null);
    const top = Math.max(this.#kind.least, ...known) * HEADROOM;
    for (const [at, { area, line }] of this.#shapes.entries()) {
      const paths = pathsOf(series[at], this.#seconds, top);
      line.setAttribute('d', paths.line);
      area.setAttribute('d', paths.area);
    }
    const { format, title, lines } = this.#kind;
    const latest = series.map((values) => values.at(-1) ?? null).map((value) => (value === null ? '–' : format(value)));
    this.#now.textContent = latest.join(' / ');
    this.#top.textContent = known.length === 0 ? '' : format(top / HEADROOM);
    const words = latest.map((value, at) => (lines.length < 2 ? value : `${lines[at]} ${value}`)).join(', ');
    this.#svg.setAttribute('aria-label', `${title}: now ${words}, at most ${format(top / HEADROOM)} in the last ${Math.round(this.#seconds / 60)} minutes`);
  }
}

/**
 * The line through what is known, and the area below it. What is not known leaves a gap.
 * @param {Series} values
 * @param {number} seconds
 * @param {number} top
 */
export function pathsOf(values, seconds, top) {
  const step = WIDTH / (seconds - 1);
  const start = WIDTH - (values.length - 1) * step;
  let line = '';
  let area = '';
  let from = -1;
  for (let at = 0; at <= values.length; at++) {
    const value = values[at] ?? null;
    const x = round(start + at * step);
    if (value !== null) {
      line += `${from < 0 ? 'M' : 'L'}${x} ${round(HEIGHT * (1 - value / top))}`;
      if (from < 0) from = line.lastIndexOf('M');
    } else if (from >= 0) {
      const piece = line.slice(from + 1);
      area += `M${piece.split(' ')[0]} ${HEIGHT}L${piece}L${round(start + (at - 1) * step)} ${HEIGHT}Z`;
      from = -1;
    }
  }
  return { line, area };
}

/** @param {number} value */
function round(value) {
  return Math.round(value * 10) / 10;
}

/** @param {string} tag @param {Record<string, string>} attributes @returns {SVGElement} */
function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return /** @type {SVGElement} */ (made);
}
