"""Use the plugin as QGIS's own windows do: ``session.py JOBS.json``, with the Python that has QGIS's modules.

Each job is an algorithm with its parameters; ``"cancel": true`` cancels it as soon as it has progress, and
``"environment"`` has variables for it and those after it. Printed is, as JSON, for each its results, its error, and the
layers that it adds to the project with their renderers.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, "/usr/share/qgis/python/plugins")
sys.path.insert(0, os.environ["QGIS_PLUGINPATH"])

from qgis.core import (
    QgsApplication,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
)


def perform(job: dict[str, Any]) -> dict[str, Any]:
    """Run an algorithm as its dialog does, and load its results."""
    from processing.gui.Postprocessing import handleAlgorithmResults

    project = QgsProject.instance()
    project.clear()
    context = QgsProcessingContext()
    context.setProject(project)
    feedback = QgsProcessingFeedback(False)
    os.environ.update(job.get("environment", {}))
    if job.get("cancel"):
        feedback.progressChanged.connect(feedback.cancel)
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(job["algorithm"])
    parameters = dict(job["parameters"])
    for name in job.get("loaded", ["OUTPUT"]):
        parameters[name] = QgsProcessingOutputLayerDefinition(parameters[name], project)
    try:
        results, done = algorithm.run(parameters, context, feedback, {}, False)
    except QgsProcessingException as error:
        return {"error": str(error)}
    handleAlgorithmResults(algorithm, context, feedback, parameters=parameters)
    layers = {layer.name(): layer.renderer().type() for layer in project.mapLayers().values()}
    return {"done": done, "results": results, "layers": layers, "log": feedback.textLog()}


application = QgsApplication([], True)
application.initQgis()

from processing.core.Processing import Processing  # noqa: E402
from processing.core.ProcessingConfig import ProcessingConfig  # noqa: E402

Processing.initialize()

from geosr_qgis import classFactory  # noqa: E402

plugin = classFactory(None)
plugin.initProcessing()
made = []
for one in json.loads(Path(sys.argv[1]).read_text()):
    ProcessingConfig.setSettingValue("GEOSR_COMMAND", one.get("command", ""))
    made.append(perform(one))
sys.stdout.write(json.dumps(made) + "\n")
sys.stdout.flush()
# Debian's QGIS 3.22 may crash while it takes itself down.
os._exit(0)
