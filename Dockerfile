# The demo as a service, for docker-compose.yml.
FROM python:3.13-slim

WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY otflow ./otflow
# the demo answers questions from these texts; it finds them beside an editable install
COPY docs ./docs
COPY examples ./examples
RUN pip install --no-cache-dir --editable . && useradd --create-home otflow
USER otflow
CMD ["python", "examples/demo_service.py"]
