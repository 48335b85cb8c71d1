/**
 * The list of conversations: only the rows in sight are in the page.
 * @module
 */

import { shortTime, t } from '../i18n/texts.js';
import { keyOf, sorted, statusOf } from '../state/conversations.js';
import { Composition } from '../text/keys.js';
import { avatar } from './avatar.js';
import { el, icon, iconButton, list, put } from './dom.js';
import { hits } from './hits.js';
import { eventText, statusIcon } from './message.js';

/** @typedef {import('../state/conversations.js').Talk} Talk */
/** @typedef {import('../state/engine.js').State} State */

const ROW = 68; // pixels, as in list.css
const AROUND = 6; // rows beyond those in sight

/**
 * @param {import('../state/engine.js').Engine} engine
 * @param {object} actions
 * @param {(key: string) => void} actions.open
 * @param {(key: string, id: string) => void} actions.openAt
 * @param {() => void} actions.newChat
 * @param {() => void} actions.newGroup
 * @param {() => void} actions.preferences
 * @param {string | null} actions.secondWindow a link for trying alone
 */
export function sidebar(engine, actions) {
  const { me } = engine.state;
  const search = el('input', {
    type: 'search', placeholder: t('filter'), 'aria-label': t('filter'), className: 'filter', dir: 'auto', spellcheck: false,
  });
  const invitations = el('div', { className: 'invitations' });
  const rows = el('div', { className: 'rows', role: 'listbox', 'aria-label': t('chats'), tabIndex: 0 });
  const found = hits(engine, { openAt: actions.openAt, changed: () => arrange() });
  const scroller = el('div', { className: 'list-scroller' }, rows, found.element);
  const empty = el('div', { className: 'empty-list' });
  const element = el('nav', { className: 'sidebar', 'aria-label': t('chats') },
    el('h2', { className: 'off-screen' }, t('chats')),
    el('div', { className: 'bar' },
      el('button', { type: 'button', className: 'me', onclick: actions.preferences, title: t('preferences') },
        avatar(`u:${me}`, me), el('span', { className: 'me-name', dir: 'auto' }, me), el('span', { className: 'off-screen' }, `, ${t('preferences')}`), icon('gear')),
      iconButton('people', t('create_group'), actions.newGroup),
      iconButton('plus', t('direct_chat'), actions.newChat)),
    el('div', { className: 'filter-box' }, icon('search'), search),
    invitations, scroller, empty);

  /** @type {Talk[]} */
  let shown = [];
  let selected = '';
  let active = -1; // by keyboard
  /** @type {WeakMap<HTMLElement, {talk: Talk, name: string, day: string, chosen: boolean, send: unknown}>} */
  const drawn = new WeakMap();

  const arrange = () => {
    const words = search.value.trim().toLocaleLowerCase();
    shown = sorted(engine.state).filter((talk) => !words || nameOf(talk).toLocaleLowerCase().includes(words));
    rows.style.height = `${shown.length * ROW}px`;
    found.search(words);
    const nothing = shown.length === 0 && found.element.hidden;
    empty.hidden = !nothing;
    scroller.hidden = nothing;
    if (nothing) put(empty, ...emptyState(words));
    draw();
  };

  const draw = () => {
    const from = Math.max(0, Math.floor(scroller.scrollTop / ROW) - AROUND);
    const to = Math.min(shown.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / ROW) + AROUND);
    const inSight = shown.slice(from, to);
    list(rows, inSight, (talk) => talk.key, (talk, old) => {
      const at = from + inSight.indexOf(talk);
      const row = drawRow(talk, old);
      row.style.transform = `translateY(${at * ROW}px)`;
      row.setAttribute('aria-posinset', String(at + 1));
      row.setAttribute('aria-setsize', String(shown.length));
      row.classList.toggle('active', at === active);
      return row;
    });
    const focused = shown[active];
    if (focused) rows.setAttribute('aria-activedescendant', rowId(focused.key));
    else rows.removeAttribute('aria-activedescendant');
  };

  /** @param {Talk} talk */
  const nameOf = (talk) => engine.nameOf(talk.key, t('notes'));

  /** @param {Talk} talk @param {HTMLElement | undefined} old */
  const drawRow = (talk, old) => {
    const now = Date.now();
    const send = engine.state.sends.findLast((one) => keyOf(me, one.request) === talk.key);
    const view = { talk, name: nameOf(talk), day: new Date(now).toDateString(), chosen: talk.key === selected, send };
    const before = old && drawn.get(old);
    if (old && before && Object.entries(view).every(([name, value]) => Reflect.get(before, name) === value)) return old;
    const row = old ?? el('div', { className: 'row', role: 'option', id: rowId(talk.key) });
    drawn.set(row, view);
    row.setAttribute('aria-selected', String(view.chosen));
    row.classList.toggle('unread', talk.unread > 0);
    const at = talk.last?.timestamp;
    put(row, avatar(talk.key, view.name),
      el('span', { className: 'row-name' }, el('bdi', {}, view.name)),
      el('span', { className: 'row-time' }, at ? shortTime(at, now) : ''),
      el('span', { className: 'row-text' }, ...preview(talk, view.send)),
      talk.muted && icon('bell_off'),
      talk.unread > 0 && el('span', { className: `count${talk.muted ? ' muted' : ''}`, 'aria-label': t('unread', { n: talk.unread }) },
        talk.unread > 999 ? '999+' : String(talk.unread)));
    return row;
  };

  /** @param {Talk} talk @param {import('../sdk/sends.js').Send | undefined} send */
  const preview = (talk, send) => {
    if (talk.draft && talk.key !== selected) return [el('b', { className: 'draft' }, `${t('draft')} `), clip(talk.draft)];
    if (send) return [icon(send.state === 'failed' ? 'alert' : 'clock'), clip(send.request.content)];
    const { last } = talk;
    if (!last) return [''];
    if (last.recalled) return [t('withdrawn')];
    if (last.type === 'system') return [eventText(last)];
    if (last.sender_id === me) return [talk.key === `u:${me}` ? '' : statusIcon(statusOf(talk, last)), clip(last.content)];
    return [talk.key.startsWith('g:') ? `${last.sender_id}: ` : '', clip(last.content)];
  };

  /** @param {string} words */
  const emptyState = (words) => {
    if (words) return [el('p', { className: 'quiet', dir: 'auto' }, t('filter_none', { text: search.value.trim() }))];
    if (!engine.state.loaded) return [el('p', { className: 'quiet' }, t('loading'))];
    return [
      el('h2', {}, t('empty_list')),
      el('p', { className: 'quiet' }, t('empty_list_hint')),
      el('button', { type: 'button', className: 'primary', onclick: actions.newChat }, t('write_first')),
      ...(actions.secondWindow ? [
        el('p', { className: 'quiet try' }, t('first_hint')),
        el('a', { href: actions.secondWindow, target: '_blank', rel: 'noopener', className: 'link-button' }, t('first_open'))] : []),
    ];
  };

  /** @param {number} at */
  const activate = (at) => {
    active = Math.max(0, Math.min(shown.length - 1, at));
    const top = active * ROW;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + ROW > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + ROW - scroller.clientHeight;
    draw();
  };

  rows.addEventListener('click', (event) => {
    const row = event.target instanceof Element ? event.target.closest('.row') : null;
    if (row instanceof HTMLElement && row.dataset.key) actions.open(row.dataset.key);
  });
  const composition = new Composition();
  composition.watch(search);
  /** @param {KeyboardEvent} event */
  const keys = (event) => {
    if (composition.takes(event)) return;
    if (event.key === 'ArrowDown') activate(active + 1);
    else if (event.key === 'ArrowUp') activate(active - 1);
    else if (event.key === 'Home' && event.currentTarget === rows) activate(0);
    else if (event.key === 'End' && event.currentTarget === rows) activate(shown.length - 1);
    else if (event.key === 'Enter' && shown[Math.max(0, active)]) {
      actions.open(shown[Math.max(0, active)].key);
      search.value = '';
      active = -1;
      arrange();
    } else if (event.key === 'Escape' && search.value) {
      search.value = '';
      arrange();
    } else return;
    event.preventDefault();
  };
  rows.addEventListener('keydown', keys);
  search.addEventListener('keydown', keys);
  search.addEventListener('input', () => {
    active = search.value ? 0 : -1;
    scroller.scrollTop = 0;
    arrange();
  });
  scroller.addEventListener('scroll', draw, { passive: true });
  new ResizeObserver(draw).observe(scroller);

  /** @param {State} state */
  const drawInvitations = (state) => {
    list(invitations, state.invitations, (one) => one.group_id, (one, old) => old ?? el('div', { className: 'invitation' },
      el('span', { dir: 'auto' }, el('b', {}, one.name), el('br'), t('invited_by', { user: one.invited_by })),
      el('button', { type: 'button', className: 'primary small', onclick: () => answer('join_group', one.group_id) }, t('join')),
      el('button', { type: 'button', className: 'plain-button small', onclick: () => answer('decline_invitation', one.group_id) }, t('decline'))));
  };
  /** @param {string} name @param {string} group */
  const answer = async (name, group) => {
    await engine.govern(name, { group_id: group }).catch(() => {});
    if (name === 'join_group') actions.open(`g:${group}`);
  };

  engine.store.subscribe((state, before) => {
    if (state.invitations !== before.invitations || state === before) drawInvitations(state);
    const { talks, sends, groups, loaded } = before;
    if (state === before || talks !== state.talks || sends !== state.sends || groups !== state.groups || loaded !== state.loaded) arrange();
  });

  return {
    element,
    /** @param {string} key */
    select(key) {
      selected = key;
      arrange();
    },
    focusSearch: () => search.focus(),
    /** The conversation above or below the one that is open. @param {number} step */
    neighbour(step) {
      const at = shown.findIndex((talk) => talk.key === selected);
      return shown[Math.max(0, Math.min(shown.length - 1, at + step))]?.key ?? null;
    },
  };
}

/** @param {string} key */
const rowId = (key) => `row-${encodeURIComponent(key)}`;

/** As much of a text as one line shows. @param {string} text */
const clip = (text) => el('bdi', {}, text.slice(0, 160).replace(/\s+/g, ' '));
