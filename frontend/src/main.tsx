import "@fontsource-variable/inter/wght.css";
import "@mantine/core/styles.css";
import "@mantine/notifications/styles.css";
import "uplot/dist/uPlot.min.css";
import "./ui/page.css";
import { MantineProvider } from "@mantine/core";
import { ModalsProvider } from "@mantine/modals";
import { Notifications } from "@mantine/notifications";
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiProblem, isRefused } from "./api/client";
import { startI18n } from "./i18n";
import { router } from "./routes";
import { theme } from "./ui/theme";

const queries = new QueryClient({
  queryCache: new QueryCache({
    // A session that ended meanwhile: who is signed in is asked again, and the frame leads to the sign-in.
    onError: (error, query) => {
      if (error instanceof ApiProblem && error.status === 401 && query.queryKey[0] !== "me")
        void queries.invalidateQueries({ queryKey: ["me"] });
    },
  }),
  defaultOptions: {
    // The server may be on this very machine: without a network it is asked all the same, and its silence is told.
    mutations: { networkMode: "always" },
    queries: {
      networkMode: "always",
      retry: (count, error) => !isRefused(error) && count < 2,
      staleTime: 1000,
    },
  },
});

startI18n();
const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider theme={theme} defaultColorScheme="auto">
        <QueryClientProvider client={queries}>
          <ModalsProvider>
            <Notifications position="bottom-right" />
            <RouterProvider router={router} />
          </ModalsProvider>
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
}
