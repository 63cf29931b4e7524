import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const LIBRARIES: [string, RegExp][] = [
  ["react", /node_modules\/(react|react-dom|scheduler)\//],
  ["state", /node_modules\/(@tanstack|i18next|react-i18next|openapi-fetch)\//],
];

export default defineConfig({
  plugins: [react()],
  server: { proxy: { "/api": process.env.TUNESCOPE_URL ?? "http://127.0.0.1:8000" } },
  build: {
    target: "es2022",
    rollupOptions: {
      output: {
        // Fetched side by side, and kept by browsers over releases that change only our own code.
        manualChunks: (module) => LIBRARIES.find(([, path]) => path.test(module))?.[0],
      },
    },
  },
});
