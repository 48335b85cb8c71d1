/** What tsc does not see. */
const product = {
  'no-restricted-properties': ['error',
    { property: 'innerHTML' }, { property: 'outerHTML' }, { property: 'insertAdjacentHTML' },
    { object: 'document', property: 'write' }],
  'no-restricted-globals': ['error', 'event', 'name', 'alert', 'confirm', 'prompt'],
  'no-eval': 'error',
  'no-implied-eval': 'error',
  'no-new-func': 'error',
};

export default [
  { linterOptions: { reportUnusedDisableDirectives: true } },
  {
    files: ['**/*.js'],
    languageOptions: { ecmaVersion: 2024, sourceType: 'module' },
    rules: {
      eqeqeq: ['error', 'always'],
      'no-console': 'error',
      'no-constant-binary-expression': 'error',
      'no-duplicate-imports': 'error',
      'no-shadow': 'error',
      'no-unreachable': 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-use-before-define': ['error', { functions: false, classes: false, variables: false }],
      'no-var': 'error',
      'object-shorthand': 'error',
      'prefer-const': 'error',
      'prefer-template': 'error',
      'max-lines': ['error', { max: 400, skipComments: true, skipBlankLines: true }],
    },
  },
  { files: ['**/imserver/web/**/*.js'], rules: product },
];
