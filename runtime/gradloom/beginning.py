"""What `import gradloom` begins with, before all that takes long to import: LLVM's process, on a new machine."""

from gradloomc.codegen.native import begin_on_new_machine

begin_on_new_machine()
