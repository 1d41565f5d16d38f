/** The texts of src/locales as the build hands them out (vite.config.ts): keys, and each language's texts in their order. */
declare module "virtual:words*" {
  const list: string[];
  export default list;
}
