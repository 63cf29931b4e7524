import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
} from "@tanstack/react-router";
import { SignInPage } from "./features/users/SignInPage";
import { Broken } from "./ui/Broken";
import { NotFound } from "./ui/NotFound";
import { Shell } from "./ui/Shell";

const root = createRootRoute();
const signIn = createRoute({
  getParentRoute: () => root,
  path: "/sign-in",
  component: SignInPage,
  validateSearch: (search): { token?: string; next?: string } => ({
    ...(typeof search.token === "string" ? { token: search.token } : {}),
    // Only a path of our own: never a way to another site.
    ...(typeof search.next === "string" && /^\/(?![/\\])/.test(search.next) ? { next: search.next } : {}),
  }),
});
const shell = createRoute({ getParentRoute: () => root, id: "shell", component: Shell });

const page = <Path extends string>(path: Path, component: ReturnType<typeof lazyRouteComponent>) =>
  createRoute({ getParentRoute: () => shell, path, component });

const PAGES = [
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
    "/losses",
    lazyRouteComponent(() => import("./features/losses/LossesPage")),
  ),
  page(
    "/accuracy",
    lazyRouteComponent(() => import("./features/accuracy/AccuracyPage")),
  ),
  page(
    "/settings",
    lazyRouteComponent(() => import("./features/users/SettingsPage")),
  ),
  // What is left of a job's address without its id.
  createRoute({
    getParentRoute: () => shell,
    path: "/jobs",
    beforeLoad: () => {
      throw redirect({ to: "/" });
    },
  }),
  createRoute({ getParentRoute: () => shell, path: "$", component: NotFound }),
] as const;

export const router = createRouter({
  routeTree: root.addChildren([signIn, shell.addChildren(PAGES)]),
  defaultPreload: "intent",
  defaultErrorComponent: Broken,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
