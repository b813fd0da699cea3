// Shows the service's own OpenAPI document. No script stands in the page itself: its policy forbids that.
"use strict";

window.addEventListener("load", () => {
  window.SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#swagger-ui",
    presets: [window.SwaggerUIBundle.presets.apis],
    deepLinking: true, // a link to one route opens it
    filter: true, // a field that narrows the tags
    displayRequestDuration: true,
    defaultModelExpandDepth: 3,
    defaultModelsExpandDepth: 0, // all schemas are listed below, closed
    validatorUrl: null, // would send the document to another host
    persistAuthorization: false, // a key is never written to the browser's storage
  });
});
