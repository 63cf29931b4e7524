import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { SignInPage } from "./features/users/SignInPage";
import { Shell } from "./ui/Shell";

const root = createRootRoute();
const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  component: SignInPage,
  validateSearch: (search): { token?: string } =>
    typeof search.token === "string" ? { token: search.token } : {},
});
const shell = createRoute({ getParentRoute: () => root, id: "shell", component: Shell });

const page = <Path extends string>(path: Path, component: ReturnType<typeof lazyRouteComponent>) =>
  createRoute({ getParentRoute: () => shell, path, component });

export const router = createRouter({
  routeTree: root.addChildren([
    signIn,
    shell.addChildren([
      page(
        "/",
        lazyRouteComponent(() => import("./features/jobs/JobsPage")),
      ),
      page(
        "/new",
        lazyRouteComponent(() => import("./features/launch/LaunchPage")),
      ),
      page(
        "/jobs/$id",
        lazyRouteComponent(() => import("./features/job/JobPage")),
      ),
      page(
        "/datasets",
        lazyRouteComponent(() => import("./features/datasets/DatasetsPage")),
      ),
      page(
        "/models",
        lazyRouteComponent(() => import("./features/models/ModelsPage")),
      ),
      page(
        "/machines",
        lazyRouteComponent(() => import("./features/machines/MachinesPage")),
      ),
      page(
        "/why",
        lazyRouteComponent(() => import("./features/explain/WhyPage")),
      ),
      page(
        "/settings",
        lazyRouteComponent(() => import("./features/users/SettingsPage")),
      ),
    ]),
  ]),
  defaultPreload: "intent",
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
