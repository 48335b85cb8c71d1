/**
 * Elements, and lists of them. Text is only ever set as text.
 * @module
 */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * An element. Properties are set as such where the element has them (`onclick`, `value`, `className`),
 * else as attributes; `dataset` and `style` take objects.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  assign(element, props);
  put(element, ...children);
  return element;
}

/** @param {HTMLElement} element @param {Record<string, any>} props */
export function assign(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === 'dataset' || name === 'style') Object.assign(element[name], value);
    else if (name in element && name !== 'list' && !name.startsWith('aria')) Reflect.set(element, name, value);
    else if (value !== false || name.startsWith('aria')) element.setAttribute(name, String(value));
  }
}

/** Replace what is in an element. @param {Element} element @param {...Child} children */
export function put(element, ...children) {
  const nodes = children.filter((child) => child !== null && child !== undefined && child !== false);
  element.replaceChildren(.../** @type {(Node | string)[]} */ (nodes));
}

/** Set a text if it is another one. @param {Element} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Make the children of a container those of a list, in its order; elements of keys that stay are kept.
 * @template T
 * @param {Element} container
 * @param {readonly T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T, old: HTMLElement | undefined) => HTMLElement} make may give the old one back
 */
export function list(container, items, keyOf, make) {
  const old = new Map();
  for (const child of container.children) old.set(/** @type {HTMLElement} */ (child).dataset.key, child);
  /** @type {Element | null} */
  let next = container.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const before = old.get(key);
    old.delete(key);
    const element = make(item, before);
    element.dataset.key = key;
    if (before && before !== element) {
      if (next === before) next = before.nextElementSibling;
      before.remove();
    }
    if (element === next) next = next.nextElementSibling;
    else container.insertBefore(element, next);
  }
  for (const gone of old.values()) gone.remove();
}

const SVG = 'http://www.w3.org/2000/svg';

/** @type {Record<string, string>} paths on a field of 24 by 24 */
const ICONS = {
  back: 'M15 5l-7 7 7 7',
  plus: 'M12 5v14M5 12h14',
  people: 'M9 11a3.2 3.2 0 100-6.4A3.2 3.2 0 009 11zM3 19.5c0-3.3 2.700-5.500 6-5.500s6 2.200 6 5.500M15.500 5a3 3 0 010 5.800M17 14.300c2.400.5 4 2.500 4 5.200',
  send: 'M5 12h13M12.500 5.500L19 12l-6.500 6.500',
  more: 'M5.500 12h.01M12 12h.01M18.500 12h.01',
  search: 'M11 17.500a6.500 6.500 0 100-13 6.500 6.500 0 000 13zM16 16l4 4',
  down: 'M6 9.500l6 6 6-6',
  clock: 'M12 20a8 8 0 100-16 8 8 0 000 16zM12 8v4.300l2.800 1.700',
  check: 'M5 12.500l4.500 4.500L19 7.500',
  checks: 'M2.500 12.500L7 17 16 7.500M11.500 15.500L13 17l9-9.500',
  alert: 'M12 7.500v5.500M12 16.500h.01M12 20.500a8.500 8.500 0 100-17 8.500 8.500 0 000 17z',
  close: 'M6 6l12 12M18 6L6 18',
  gear: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.800v4.400M9 14.800v4.400',
  bell_off: 'M6.500 16.500c.7-1 1-2.500 1-5a4.500 4.500 0 017.500-3.300M16.500 12c.1 2.300.5 3.700 1.200 4.500h-9M10.500 19.500h3M4.500 4.500l15 15',
  chat: 'M12 5c-4.700 0-8 2.900-8 6.500 0 2 1 3.700 2.700 4.900L6 19.500l3.400-1.800c.8.200 1.700.3 2.600.3 4.700 0 8-2.900 8-6.500S16.700 5 12 5z',
};

/** A drawn sign; decoration, the text beside it says what it means. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', `icon icon-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A button with a sign and a name.
 * @param {string} name of the sign
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, any>} [props]
 */
export function iconButton(name, label, onclick, props = {}) {
  return el('button', { type: 'button', className: 'icon-button', 'aria-label': label, title: label, onclick, ...props }, icon(name));
}
