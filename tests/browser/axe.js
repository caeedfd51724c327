// The rules of accessibility that axe knows, asked of a page.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** What WCAG asks for up to level AA, and what is good practice. */
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** What is wrong with a page, in words. @param {import('playwright-core').Page} page @returns {Promise<string[]>} */
export async function violations(page) {
  if (!(await page.evaluate('typeof axe === "object"'))) await page.evaluate(AXE);
  const { violations } = await page.evaluate((rules) => {
    // What is still fading in has no contrast yet.
    for (const animation of document.getAnimations()) if (animation.effect?.getComputedTiming().endTime !== Infinity) animation.finish();
    return /** @type {any} */ (window).axe.run(document, { runOnly: rules, resultTypes: ['violations'] });
  }, RULES);
  return violations.flatMap((/** @type {any} */ { id, nodes }) => nodes.map((/** @type {any} */ { target, failureSummary }) => `${id}: ${target} ${failureSummary.replace(/\s+/g, ' ')}`));
}
