// SPDX-License-Identifier: MIT
import { defineConfig } from "@trigger.dev/sdk";

export default defineConfig({
  project: process.env.TRIGGER_PROJECT_REF!,
  dirs: ["./src"],
  maxDuration: 60,
});
