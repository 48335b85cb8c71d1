/**
 * The round sign of a person or a group.
 * @module
 */

import { colour, initials } from '../text/names.js';
import { el, icon } from './dom.js';

/**
 * @param {string} key of the conversation
 * @param {string} name
 */
export function avatar(key, name) {
  const sign = key.startsWith('g:') ? icon('people') : initials(name);
  return el('span', { className: `avatar tone-${colour(key)}`, 'aria-hidden': 'true' }, sign);
}
