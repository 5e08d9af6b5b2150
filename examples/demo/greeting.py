"""A plugin of one's own: greets in a header whom it knows by name. Its Config is checked like any other plugin's."""

from bascule.plugin import Config, Plugin, Request, Response


class Greeting(Plugin):
    name = "greeting"
    priority = 100

    class Config(Config):
        text: str = "Hello"

    def access(self, request: Request) -> Response | None:
        if not request.arg("name"):
            return Response(400, {"message": "who are you? say ?name=..."})
        return None

    def header_filter(self, request: Request, response: Response) -> None:
        response.set_header("X-Greeting", f"{self.conf.text}, {request.arg('name')}!")
