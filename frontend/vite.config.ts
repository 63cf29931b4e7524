import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  server: { proxy: { "/api": process.env.TUNESCOPE_URL ?? "http://127.0.0.1:8000" } },
  build: { target: "es2022", chunkSizeWarningLimit: 700 },
});
